//! Positive, 16 to 20 octets, the first not zero: room for the 126 random bits that [`crate::Serial`] draws, and the
//! same length in every encoding.

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "serial",
    citation: "RFC 5280 §4.1.2.2",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let octets = case.tbs.serial;
    match octets.first() {
        None | Some(0) => Err("zero, or begins with a zero octet".into()),
        Some(0x80..) => Err("negative".into()),
        Some(_) if !(16..=20).contains(&octets.len()) => Err(format!("{} octets", octets.len())),
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use policies::ProfileKind;

    use crate::lint::example::Example;

    fn refused(serial: &[u8]) -> Vec<&'static str> {
        let mut example = Example::new(ProfileKind::Service);
        example.serial = serial.to_vec();
        example.refused_by()
    }

    #[test]
    fn good() {
        assert!(refused(&[0x01; 16]).is_empty());
        assert!(refused(&[0x7f; 20]).is_empty());
    }

    #[test]
    fn bad() {
        let padded: Vec<u8> = [&[0x00, 0x80][..], &[1; 15]].concat();
        for serial in [
            &[0x80; 16][..],
            &[0xfe; 16],
            &[0x7f; 15],
            &[0x7f; 21],
            &[0x00],
            &[0x01],
            &padded,
        ] {
            assert_eq!(refused(serial), ["serial"], "{serial:?}");
        }
    }
}
