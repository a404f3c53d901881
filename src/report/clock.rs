//! Times for people and for programs.
//!
//! Apart because the journal holds milliseconds and nobody reads those. Programs get RFC 3339 in UTC; people get local time, or
//! how long ago it was. Not here: any clock.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::ids::Wall;

/// RFC 3339 in UTC, to the millisecond: `2026-11-23T04:31:02.120Z`.
pub fn rfc3339(at: Wall) -> String {
    stamp(at).map_or_else(|| "1970-01-01T00:00:00.000Z".to_owned(), |stamp| format!("{stamp:.3}"))
}

/// Local date and time to the second: `2026-11-23 05:31:02`.
pub fn local(at: Wall) -> String {
    let zoned = stamp(at).map(|stamp| stamp.to_zoned(TimeZone::system()));
    zoned.map_or_else(|| "an unknown time".to_owned(), |zoned| zoned.strftime("%Y-%m-%d %H:%M:%S").to_string())
}

/// Local time of day to the second: `05:31:02`.
pub fn time_of_day(at: Wall) -> String {
    local(at).split(' ').next_back().unwrap_or_default().to_owned()
}

/// How long it is since `then`, in the largest unit that fits: `12s`, `3m`, `2h`, `4d`. A clock that was set back gives `0s`.
pub fn age(now: Wall, then: Wall) -> String {
    let seconds = now.0.saturating_sub(then.0).max(0) / 1000;
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// How long something took: `0.2 s`, `12.0 s`, `3 min 4 s`.
pub fn took(milliseconds: i64) -> String {
    let milliseconds = milliseconds.max(0);
    if milliseconds < 60_000 {
        return format!("{}.{} s", milliseconds / 1000, milliseconds % 1000 / 100);
    }
    let seconds = milliseconds / 1000;
    if seconds < 3600 {
        format!("{} min {} s", seconds / 60, seconds % 60)
    } else {
        format!("{} h {} min", seconds / 3600, seconds % 3600 / 60)
    }
}

fn stamp(at: Wall) -> Option<Timestamp> {
    Timestamp::from_millisecond(at.0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_read_well() {
        assert_eq!(rfc3339(Wall(1_700_000_000_120)), "2023-11-14T22:13:20.120Z");
        assert_eq!(rfc3339(Wall(i64::MAX)), "1970-01-01T00:00:00.000Z");
        for (ms, text) in [(0, "0s"), (-5, "0s"), (59_999, "59s"), (60_000, "1m"), (3_600_000, "1h"), (90_000_000, "1d")] {
            assert_eq!(age(Wall(ms), Wall(0)), text);
        }
        assert_eq!(age(Wall(i64::MAX), Wall(i64::MIN)), format!("{}d", i64::MAX / 86_400_000));
        for (ms, text) in [(40, "0.0 s"), (1250, "1.2 s"), (61_000, "1 min 1 s"), (3_660_000, "1 h 1 min")] {
            assert_eq!(took(ms), text);
        }
    }
}
