//! subjectAltName is critical if and only if the subject is empty.

use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "empty_subject",
    citation: "RFC 5280 §4.1.2.6, §4.2.1.6",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    // Whether there must be one at all is `san_forms`'.
    let Some(san) = case.tbs.extension(&ID_CE_SUBJECT_ALT_NAME) else {
        return Ok(());
    };
    match (case.tbs.attributes.is_empty(), san.is_critical()) {
        (true, false) => Err("the subject is empty, the SAN not critical".into()),
        (false, true) => Err("the SAN is critical beside a subject".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use const_oid::db::rfc5280::ID_CE_SUBJECT_ALT_NAME;
    use policies::ProfileKind;

    use crate::lint::example::Example;

    #[test]
    fn good() {
        let mut service = Example::new(ProfileKind::Service);
        assert_eq!(service.subject, [0x30, 0]);
        assert_eq!(service.extension(ID_CE_SUBJECT_ALT_NAME).critical, [1, 1, 0xff]);
        assert!(service.refused_by().is_empty());
        let mut device = Example::new(ProfileKind::DeviceIdevid);
        assert!(device.extension(ID_CE_SUBJECT_ALT_NAME).critical.is_empty());
        assert!(device.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut service = Example::new(ProfileKind::Service);
        service.extension(ID_CE_SUBJECT_ALT_NAME).critical.clear();
        assert_eq!(service.refused_by(), ["empty_subject"]);
        let mut device = Example::new(ProfileKind::DeviceIdevid);
        device.extension(ID_CE_SUBJECT_ALT_NAME).critical = vec![1, 1, 0xff];
        assert_eq!(device.refused_by(), ["empty_subject"]);
    }
}
