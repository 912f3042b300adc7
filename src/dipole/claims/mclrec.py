"""MCLRec: learnable augmenters, trained in turns with the encoder, give better recommendations.

Recommenders are trained on the latest 14 ratings of every user of MovieLens 100K, in equally many steps of the encoder:
MCLRec makes two on every batch, the others one in twice as many epochs. Weights of the contrastive losses are those of
the specification's experiment, the same for the losses that CL4SRec and MCLRec share but for the weight of L_cl1, which
each has from its own paper; each has its own learning rate from the same grid. Judged: HR@20 and NDCG@20 of MCLRec
above those of CL4SRec, which has hand-made views alone, and of SASRec, which has none (margin 0.005 each: for HR, one
user in 200).
"""

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.recommendation import InteractionData

FILMS = InteractionData("ml-100k", last=14, max_length=20, width=32, dropout=0.3)
RATES = (5e-4, 1e-3, 2e-3)
EPOCHS = 8  # of two encoder steps on every batch

CLAIM = Claim(
    slug="mclrec",
    title="Meta-optimized Contrastive Learning for Sequential Recommendation",
    statement=(
        "Contrast of learned views, whose augmenters are trained in turns with the encoder, ranks the next item higher "
        "than contrast of hand-made views, and than no contrast."
    ),
    paper="Beauty, HR@20 / NDCG@20: .0894 / .0386 (SASRec), .0974 / .0428 (CL4SRec), .1243 / .0539 (MCLRec).",
    arms=(
        Arm("SASRec", "sasrec", FILMS, 2 * EPOCHS, 256, RATES),
        Arm("CL4SRec", "cl4srec", FILMS, 2 * EPOCHS, 256, RATES, {"sequence_weight": 0.1}),
        Arm("MCLRec", "mclrec", FILMS, EPOCHS, 256, RATES, {"sequence_weight": 0.03, "view_weight": 0.1}),
    ),
    comparisons=(
        Comparison("HR@20, MCLRec − CL4SRec", "MCLRec", "CL4SRec", "HR@20", margin=0.005),
        Comparison("NDCG@20, MCLRec − CL4SRec", "MCLRec", "CL4SRec", "NDCG@20", margin=0.005),
        Comparison("HR@20, MCLRec − SASRec", "MCLRec", "SASRec", "HR@20", margin=0.005),
        Comparison("NDCG@20, MCLRec − SASRec", "MCLRec", "SASRec", "NDCG@20", margin=0.005),
        Comparison("HR@10, MCLRec − SASRec", "MCLRec", "SASRec", "HR@10", judged=False),
        Comparison("NDCG@10, MCLRec − SASRec", "MCLRec", "SASRec", "NDCG@10", judged=False),
        Comparison("HR@20, CL4SRec − SASRec", "CL4SRec", "SASRec", "HR@20", judged=False),
    ),
    notes=(
        "Full ranking: every item is a candidate, also what the user has rated before.",
        "10,373 rows and minutes of training; the paper trains on Amazon and Yelp for up to 100 epochs.",
        "A batch of MCLRec has three passes of the encoder over three sequences, so that it takes more time than the "
        "two batches of the others.",
    ),
)
