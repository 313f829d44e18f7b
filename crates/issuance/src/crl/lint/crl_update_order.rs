//! nextUpdate is there, and after thisUpdate.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "crl_update_order",
    citation: "RFC 5280 §5.1.2.4, §5.1.2.5",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    let next = case.tbs.next_update.ok_or("no nextUpdate")?;
    match (time(case.tbs.this_update), time(next)) {
        (Ok(this), Ok(next)) if this >= next => Err("nextUpdate is not after thisUpdate".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::crl::lint::example::Example;
    use crate::fixture::NOW;

    #[test]
    fn good() {
        assert!(Example::complete().lasting(NOW, NOW + 1).refused_by().is_empty());
    }

    #[test]
    fn bad() {
        for next in [NOW, NOW - 1] {
            assert_eq!(
                Example::complete().lasting(NOW, next).refused_by(),
                ["crl_update_order"]
            );
        }
        let mut example = Example::complete();
        example.next_update.clear();
        assert_eq!(example.refused_by(), ["crl_update_order"]);
    }
}
