//! Dates of the lease file, `W YYYY/MM/DD HH:MM:SS`, to and from seconds since the epoch.
//!
//! UTC and the proleptic Gregorian calendar only. Years 1970 to 9999.

use crate::lease::NEVER;

const DAY: i64 = 86_400;

/// Two digits for each number below a hundred.
const PAIRS: [[u8; 2]; 100] = {
    let mut pairs = [[b'0'; 2]; 100];
    let mut n = 0;
    while n < 100 {
        pairs[n] = [b'0' + (n / 10) as u8, b'0' + (n % 10) as u8];
        n += 1;
    }
    pairs
};

/// The length of a written date, weekday and zone included.
pub(super) const LEN: usize = 25;

/// `2 2026/06/30 10:00:00 UTC`. A time the format cannot say becomes the nearest it can: nothing
/// before 1970, nothing after 9999 (an endless lease is one that ends then).
pub(super) fn format(time: i64) -> [u8; LEN] {
    let time = time.clamp(0, NEVER) as u64;
    let days = (time / DAY as u64) as u32;
    let second = (time % DAY as u64) as u32;
    let (year, month, day) = civil(days);

    let mut text = *b"0 0000/00/00 00:00:00 UTC";
    text[0] = b'0' + ((days + 4) % 7) as u8; // the first of January 1970 was a Thursday
    text[2..4].copy_from_slice(pair(year / 100));
    text[4..6].copy_from_slice(pair(year % 100));
    text[7..9].copy_from_slice(pair(month));
    text[10..12].copy_from_slice(pair(day));
    text[13..15].copy_from_slice(pair(second / 3600));
    text[16..18].copy_from_slice(pair(second / 60 % 60));
    text[19..21].copy_from_slice(pair(second % 60));
    text
}

/// `2026/06/30 10:00:00`, UTC: for people.
pub(crate) fn plain(time: i64) -> String {
    let text = format(time);
    String::from_utf8_lossy(text.get(2..21).unwrap_or_default()).into_owned()
}

fn pair(n: u32) -> &'static [u8; 2] {
    &PAIRS[(n % 100) as usize]
}

/// Year, month and day of a number of days since the epoch.
///
/// Counted in years that begin in March, so that the leap day is a year's last and the months
/// before it have a length that a line fits: 153 days in every five.
fn civil(days: u32) -> (u32, u32, u32) {
    let days = days + 719_468; // since the first of March of year 0
    let era = days / 146_097; // 400 years
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    let year = year_of_era + era * 400 + u32::from(month <= 2);
    (year, month, day)
}

/// Reads the words of a date: `never`, `epoch SECONDS`, or `[W] YYYY/MM/DD HH:MM:SS [UTC]`.
///
/// The weekday is not compared with the date, but has to be one: no writer makes another. Years
/// before 1970 and after 9999 are clamped, as when written.
pub(super) fn parse(words: &[&[u8]]) -> Option<i64> {
    let time = match *words {
        [b"never"] => NEVER,
        [b"epoch", seconds] => i64::try_from(number(seconds)?).ok()?,
        [day, clock] | [day, clock, b"UTC"] if day.contains(&b'/') => civil_time(day, clock)?,
        [weekday, day, clock] | [weekday, day, clock, b"UTC"] if number(weekday)? <= 6 => {
            civil_time(day, clock)?
        }
        _ => return None,
    };
    Some(time.clamp(0, NEVER))
}

fn civil_time(day: &[u8], clock: &[u8]) -> Option<i64> {
    let (year, month, day) = three(day, b'/')?;
    let (hour, minute, second) = three(clock, b':')?;
    let sound = (1..=12).contains(&month) && (1..=31).contains(&day);
    if !sound || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    if year > 9999 {
        return Some(NEVER);
    }
    // The inverse of `civil`; every number is small by now.
    let year = i64::from(year) - i64::from(month <= 2);
    let march_month = i64::from(if month > 2 { month - 3 } else { month + 9 });
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let of_year = (153 * march_month + 2) / 5 + i64::from(day) - 1;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = era * 146_097 + of_era - 719_468;
    Some(days * DAY + i64::from(hour * 3600 + minute * 60 + second))
}

/// Three numbers with `between` between them.
fn three(text: &[u8], between: u8) -> Option<(u32, u32, u32)> {
    let mut parts = text.split(|&b| b == between).map(|part| u32::try_from(number(part)?).ok());
    let three = (parts.next()??, parts.next()??, parts.next()??);
    parts.next().is_none().then_some(three)
}

/// A decimal number of at most 18 digits.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || text.len() > 18 {
        return None;
    }
    text.iter().try_fold(0u64, |n, b| b.is_ascii_digit().then(|| n * 10 + u64::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> Option<i64> {
        parse(&text.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(time in 0..=NEVER) {
            prop_assert_eq!(read(&text(time)), Some(time));
        }
    }

    #[test]
    fn every_day_of_four_centuries_follows_the_one_before() {
        let mut last = civil(0);
        for day in 1..146_097 {
            let next = civil(day);
            assert!(next > last, "{last:?} {next:?}");
            assert_eq!(read(&text(i64::from(day) * DAY)), Some(i64::from(day) * DAY));
            last = next;
        }
    }

    #[test]
    fn other_spellings() {
        assert_eq!(read("2026/06/30 10:00:00"), Some(1_782_813_600));
        assert_eq!(read("2026/06/30 10:00:00 UTC"), Some(1_782_813_600));
        assert_eq!(read("2 2026/06/30 10:00:00"), Some(1_782_813_600));
        assert_eq!(read("2 2026/6/30 10:0:0"), Some(1_782_813_600));
        assert_eq!(read("never"), Some(NEVER));
        assert_eq!(read("epoch 1782813600"), Some(1_782_813_600));
        assert_eq!(read("4 1900/01/01 00:00:00"), Some(0));
        assert_eq!(read("4 12026/01/01 00:00:00"), Some(NEVER));
    }

    #[test]
    fn no_dates() {
        for text in [
            "",
            "2",
            "soon",
            "epoch",
            "epoch x",
            "2 2026/13/30 10:00:00",
            "2 2026/12/32 10:00:00",
            "2 2026/00/30 10:00:00",
            "2 2026/12/30 24:00:00",
            "2 2026/12/30 10:60:00",
            "2 2026/12/30 10:00",
            "2 2026/12/30/1 10:00:00",
            "7 2026/12/30 10:00:00",
            "Wed 2026/12/30 10:00:00",
            "2 2026/12/30 10:00:00 CET",
            "2 -26/12/30 10:00:00",
            "2 99999999999999999999/12/30 10:00:00",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    fn text(time: i64) -> String {
        String::from_utf8(format(time).to_vec()).unwrap()
    }

    #[test]
    fn known_dates() {
        assert_eq!(text(0), "4 1970/01/01 00:00:00 UTC");
        assert_eq!(text(951_782_400), "2 2000/02/29 00:00:00 UTC");
        assert_eq!(text(1_782_813_600), "2 2026/06/30 10:00:00 UTC");
        assert_eq!(text(4_107_542_399), "0 2100/02/28 23:59:59 UTC");
        assert_eq!(text(4_107_542_400), "1 2100/03/01 00:00:00 UTC");
        assert_eq!(text(NEVER), "5 9999/12/31 23:59:59 UTC");
    }

    #[test]
    fn what_cannot_be_said_is_clamped() {
        assert_eq!(text(i64::MIN), text(0));
        assert_eq!(text(-1), text(0));
        assert_eq!(text(NEVER + 1), text(NEVER));
        assert_eq!(text(i64::MAX), text(NEVER));
    }
}
