"""Pairs of a caption and a rewrite of it, which show a language model what to do."""

# Written for dipole. The authors' pools come from chat models, COCO and people; a file of other pairs can be given.
EXAMPLES: tuple[tuple[str, str], ...] = (
    ("dog on beach", "A dog trots along the wet sand while small waves roll in behind it."),
    ("two kids playing football in the park", "In a green park, a pair of children chase a ball across the grass."),
    ("vintage red bicycle against a wall", "An old red bike leans on a plain brick wall."),
    ("homemade bread, fresh from the oven", "A crusty loaf of bread cools on a rack, its top split and golden."),
    ("woman reading in a cafe", "A woman sits by the window of a coffee shop, bent over a book."),
    ("view of the mountains at sunset", "The last light of the day turns a row of distant peaks orange and pink."),
    ("cat sleeping on a chair", "Curled up on a kitchen chair, a cat is fast asleep."),
    ("wooden boats in the harbor", "Several small boats made of wood are tied up side by side in a quiet harbour."),
    (
        "bowl of ramen with egg and pork",
        "A deep bowl holds noodles in broth with sliced pork and half an egg on top.",
    ),
    ("a man plays the guitar on stage", "Under bright lights, a guitarist performs in front of a crowd."),
    ("snow covered street at night", "Street lamps glow over a road that lies deep in fresh snow."),
    (
        "modern white kitchen interior",
        "A bright kitchen has white cabinets, a stone counter and hanging lamps.",
    ),
    ("old couple holding hands", "An elderly man and woman walk slowly, hand in hand."),
    ("yellow taxi in new york traffic", "A yellow cab waits among rows of cars between tall city buildings."),
    ("close up of a bee on a flower", "A bee covered in pollen clings to the centre of a blossom."),
    ("children painting at a table", "At a low table, a few children dip brushes into pots of bright paint."),
)
