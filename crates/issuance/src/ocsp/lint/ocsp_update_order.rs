//! thisUpdate is not after producedAt, nextUpdate is there, and after it: an answer never speaks of the future, and never
//! for ever.

use super::{Case, Lint};
use crate::view::time;

pub(super) const LINT: Lint = Lint {
    name: "ocsp_update_order",
    citation: "RFC 6960 §2.4, §4.2.2.1, RFC 9919 §3.2.4",
    judge,
};

fn judge(case: &Case<'_>) -> Result<(), String> {
    for answer in &case.tbs.answers {
        let next = answer.next_update.ok_or("no nextUpdate")?;
        let (Ok(produced), Ok(this), Ok(next)) = (time(case.tbs.produced_at), time(answer.this_update), time(next))
        else {
            continue;
        };
        if this > produced {
            return Err("thisUpdate is after producedAt".into());
        }
        if next <= produced {
            return Err("nextUpdate is not after producedAt".into());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::fixture::NOW;
    use crate::ocsp::lint::example::Example;

    const LINT: [&str; 1] = ["ocsp_update_order"];

    #[test]
    fn good() {
        for (produced, this, next) in [(NOW, NOW, NOW + 1), (NOW + 5, NOW, NOW + 6)] {
            assert!(Example::several().lasting(produced, this, next).refused_by().is_empty());
        }
    }

    #[test]
    fn bad() {
        for (produced, this, next) in [(NOW, NOW + 1, NOW + 9), (NOW, NOW, NOW), (NOW + 5, NOW, NOW + 5)] {
            assert_eq!(Example::several().lasting(produced, this, next).refused_by(), LINT);
        }
        for n in 0..3 {
            let mut example = Example::several();
            example.answers[n].next_update.clear();
            assert_eq!(example.refused_by(), LINT);
        }
    }
}
