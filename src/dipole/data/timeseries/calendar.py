"""What the calendar says of a time: covariates that are known ahead."""

import numpy as np

CALENDAR = ("minute", "hour", "weekday", "day", "day of year", "month", "week")


def calendar_features(times: np.ndarray) -> np.ndarray:
    """Return minute, hour, weekday, day, day of the year, month and ISO week of times.

    Woo et al.: *CoST* (ICLR 2022).

    Args:
        times: (T,) datetime64.

    Returns:
        (T, 7) float32.

    Example:
        >>> calendar_features(np.array(["2016-07-01T05:30"], "datetime64[s]")).tolist()
        [[30.0, 5.0, 4.0, 1.0, 183.0, 7.0, 26.0]]
    """
    minutes = times.astype("datetime64[m]").astype(np.int64)
    days = times.astype("datetime64[D]")
    months = days.astype("datetime64[M]")
    weekday = (days.astype(np.int64) + 3) % 7  # 1 January 1970 was a Thursday
    # The ISO week of a day is that of its Thursday.
    thursday = days - weekday + 3
    return np.stack(
        [
            minutes % 60,
            minutes // 60 % 24,
            weekday,
            (days - months).astype(np.int64) + 1,
            (days - days.astype("datetime64[Y]")).astype(np.int64) + 1,
            months.astype(np.int64) % 12 + 1,
            (thursday - thursday.astype("datetime64[Y]")).astype(np.int64) // 7 + 1,
        ],
        axis=1,
    ).astype(np.float32)
