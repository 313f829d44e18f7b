//! A CA and a responder have a common name, a device a serialNumber.

use const_oid::db::rfc4519::{CN, SERIAL_NUMBER};
use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "subject_required",
    citation: "RFC 5280 §4.1.2.6, IEEE 802.1AR-2018 §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let has = |oid| case.tbs.attributes.iter().any(|a| a.oid == oid);
    if (case.promise.kind.is_ca() || case.promise.kind == ProfileKind::Ocsp) && !has(CN) {
        Err("no common name".into())
    } else if case.promise.is_device() && !has(SERIAL_NUMBER) {
        Err("a device without a serialNumber".into())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc4519::{CN, O, SERIAL_NUMBER};
    use policies::ProfileKind;

    use crate::encode::{PRINTABLE_STRING, UTF8_STRING};
    use crate::lint::example::{Example, name};

    const DEVICES: [ProfileKind; 3] = [
        ProfileKind::DeviceIak,
        ProfileKind::DeviceIdevid,
        ProfileKind::DeviceLdevid,
    ];

    #[test]
    fn good() {
        for kind in DEVICES {
            let mut example = Example::new(kind);
            example.subject = name(&[(SERIAL_NUMBER, PRINTABLE_STRING, "7")]);
            assert!(example.refused_by().is_empty());
        }
        let mut example = Example::new(ProfileKind::Issuing);
        example.subject = name(&[(CN, UTF8_STRING, "Issuing")]);
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for kind in DEVICES.into_iter().chain([ProfileKind::Issuing]) {
            let mut example = Example::new(kind);
            example.subject = name(&[(O, UTF8_STRING, "Ex")]);
            assert_eq!(example.refused_by(), ["subject_required"], "{kind:?}");
        }
    }
}
