//! An IDevID ends at 99991231235959Z, whatever its profile says.

use policies::ProfileKind;

use super::{Case, Lint};

pub(super) const LINT: Lint = Lint {
    name: "idevid_never_expires",
    citation: "IEEE 802.1AR-2018 §8",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    if case.promise.kind != ProfileKind::DeviceIdevid || case.tbs.not_after.value == b"99991231235959Z" {
        Ok(())
    } else {
        Err(format!("ends {}", String::from_utf8_lossy(case.tbs.not_after.value)))
    }
}

#[cfg(test)]
mod tests {
    use attest::UnixTime;
    use policies::ProfileKind;

    use crate::encode::time;
    use crate::fixture::{DAY, NOW};
    use crate::lint::example::Example;

    #[test]
    fn good() {
        let example = Example::new(ProfileKind::DeviceIdevid);
        assert_eq!(example.not_after, b"\x18\x0f99991231235959Z");
        assert!(example.refused_by().is_empty());
    }

    #[test]
    fn bad() {
        let mut example = Example::new(ProfileKind::DeviceIdevid);
        example.not_after = time(UnixTime(NOW + DAY - 1)).unwrap();
        example.promise.lifetime = Some(DAY);
        assert_eq!(example.refused_by(), ["idevid_never_expires"]);
    }
}
