//! UTCTime and GeneralizedTime of a validity (RFC 5280 §4.1.2.5).

use super::asn1::{BadDer, GENERALIZED_TIME, Reader, UTC_TIME};
use super::{Leniencies, Leniency};
use crate::UnixTime;

/// The next element as a time: seconds and `Z` are required, fractions and offsets refused.
pub(super) fn read(reader: &mut Reader<'_>, leniencies: Leniencies) -> Result<UnixTime, BadDer> {
    let tlv = reader.any()?;
    let (year, rest) = match tlv.tag {
        UTC_TIME => {
            let (year, rest) = number(tlv.content, 2)?;
            (if year < 50 { 2000 + year } else { 1900 + year }, rest)
        }
        GENERALIZED_TIME => {
            let (year, rest) = number(tlv.content, 4)?;
            if year < 2050 && !leniencies.allow(Leniency::EarlyGeneralizedTime) {
                return Err(BadDer("GeneralizedTime before 2050"));
            }
            (year, rest)
        }
        _ => return Err(BadDer("validity is not a time")),
    };
    let (month, rest) = number(rest, 2)?;
    let (day, rest) = number(rest, 2)?;
    let (hour, rest) = number(rest, 2)?;
    let (minute, rest) = number(rest, 2)?;
    let (second, rest) = number(rest, 2)?;
    if rest != b"Z" {
        return Err(BadDer("time does not end in Z"));
    }
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_in_month = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return Err(BadDer("month is not in the calendar")),
    };
    if day < 1 || day > days_in_month || hour > 23 || minute > 59 || second > 59 {
        return Err(BadDer("time is not in the calendar"));
    }
    Ok(UnixTime(
        days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second,
    ))
}

fn number(bytes: &[u8], digits: usize) -> Result<(i64, &[u8]), BadDer> {
    let (number, rest) = bytes.split_at_checked(digits).ok_or(BadDer("time is cut off"))?;
    if !number.iter().all(u8::is_ascii_digit) {
        return Err(BadDer("time is not made of digits"));
    }
    Ok((
        number.iter().fold(0, |sum, digit| sum * 10 + i64::from(digit - b'0')),
        rest,
    ))
}

/// Days from 1970-01-01 in the proleptic Gregorian calendar; years count from March so that leap days come last.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + (153 * month + 2) / 5 + day
        - 1
        - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::x509::asn1::encode;

    fn time(tag: u8, text: &str, leniencies: Leniencies) -> Result<i64, BadDer> {
        read(&mut Reader::new(&encode(tag, &[text.as_bytes()])), leniencies).map(|time| time.0)
    }

    #[test]
    fn known_times() {
        for (tag, text, expected) in [
            (UTC_TIME, "700101000000Z", 0),
            (UTC_TIME, "491231235959Z", 2_524_607_999),
            (UTC_TIME, "500101000000Z", -631_152_000),
            (UTC_TIME, "000229120000Z", 951_825_600),
            (GENERALIZED_TIME, "20500101000000Z", 2_524_608_000),
            (GENERALIZED_TIME, "99991231235959Z", 253_402_300_799),
        ] {
            assert_eq!(time(tag, text, Leniencies::NONE), Ok(expected), "{text}");
        }
    }

    #[test]
    fn times_out_of_form_are_refused() {
        for text in [
            "210229000000Z",
            "211301000000Z",
            "210001000000Z",
            "210100000000Z",
            "210101240000Z",
            "210101006000Z",
            "210101000060Z",
            "2101010000Z",
            "210101000000",
            "210101000000+0000",
            "21010100000aZ",
            "",
        ] {
            assert!(time(UTC_TIME, text, Leniencies::VENDOR).is_err(), "{text}");
        }
        assert!(time(GENERALIZED_TIME, "20500101000000.5Z", Leniencies::VENDOR).is_err());
        assert!(time(0x13, "210101000000Z", Leniencies::VENDOR).is_err());
    }

    #[test]
    fn a_generalized_time_before_2050_is_a_named_leniency() {
        assert!(time(GENERALIZED_TIME, "20180430090942Z", Leniencies::VENDOR).is_ok());
        let strict = Leniencies::VENDOR.without(Leniency::EarlyGeneralizedTime);
        assert_eq!(
            time(GENERALIZED_TIME, "20180430090942Z", strict),
            Err(BadDer("GeneralizedTime before 2050"))
        );
    }
}
