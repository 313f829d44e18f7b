//! What the attributes of a CA's private key must be, and the proof that they are.

use cryptoki::object::{Attribute, AttributeType, ObjectHandle};
use cryptoki::session::Session;

use crate::HsmError;

/// What a token that leaves the attribute out means.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Not proven, so refused.
    Refused,
    /// The token does not know the attribute, so it cannot be wrong.
    Harmless,
}

/// How a key is kept against loss of its token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum KeyCustody {
    /// It never leaves its token: made there, never extractable.
    #[default]
    NeverLeaves,
    /// It was, or came from, a backup under a wrap-only key. Now it is as closed as any, but its token cannot vouch for
    /// its past: the record of the ceremony does.
    WrappedBackup,
}

impl KeyCustody {
    /// Attributes of a key's past, which unwrapping cannot restore (PKCS#11 3.1 §4.9), and CKA_MODIFIABLE, without which
    /// a key could not be closed after its backup.
    const PAST: [AttributeType; 4] = [
        AttributeType::AlwaysSensitive,
        AttributeType::NeverExtractable,
        AttributeType::Local,
        AttributeType::Modifiable,
    ];

    fn asks(self, attribute: AttributeType) -> bool {
        self == Self::NeverLeaves || !Self::PAST.contains(&attribute)
    }
}

/// One attribute and its value.
pub(crate) struct Rule {
    pub(crate) attribute: AttributeType,
    pub(crate) name: &'static str,
    pub(crate) wanted: bool,
    pub(crate) absent: Absent,
}

const fn must(attribute: AttributeType, name: &'static str, wanted: bool) -> Rule {
    Rule {
        attribute,
        name,
        wanted,
        absent: Absent::Refused,
    }
}

const fn if_known(attribute: AttributeType, name: &'static str, wanted: bool) -> Rule {
    Rule {
        attribute,
        name,
        wanted,
        absent: Absent::Harmless,
    }
}

/// Every rule for the private key (PKCS#11 3.1 §4.9; names as there). SENSITIVE comes before ALWAYS_SENSITIVE, and
/// EXTRACTABLE before NEVER_EXTRACTABLE, so that the present is named before the past.
pub(crate) const RULES: [Rule; 18] = [
    must(AttributeType::Token, "CKA_TOKEN", true),
    must(AttributeType::Private, "CKA_PRIVATE", true),
    must(AttributeType::Sensitive, "CKA_SENSITIVE", true),
    must(AttributeType::AlwaysSensitive, "CKA_ALWAYS_SENSITIVE", true),
    must(AttributeType::Extractable, "CKA_EXTRACTABLE", false),
    must(AttributeType::NeverExtractable, "CKA_NEVER_EXTRACTABLE", true),
    must(AttributeType::Local, "CKA_LOCAL", true),
    must(AttributeType::Sign, "CKA_SIGN", true),
    must(AttributeType::Decrypt, "CKA_DECRYPT", false),
    must(AttributeType::Unwrap, "CKA_UNWRAP", false),
    must(AttributeType::Derive, "CKA_DERIVE", false),
    must(AttributeType::SignRecover, "CKA_SIGN_RECOVER", false),
    // Not attributes of a private key in the standard, but a token that has them must not have them set.
    if_known(AttributeType::Wrap, "CKA_WRAP", false),
    if_known(AttributeType::Encrypt, "CKA_ENCRYPT", false),
    if_known(AttributeType::Modifiable, "CKA_MODIFIABLE", false),
    if_known(AttributeType::Copyable, "CKA_COPYABLE", false),
    if_known(AttributeType::Decapsulate, "CKA_DECAPSULATE", false),
    // A PIN for every signature cannot be given by a server.
    if_known(AttributeType::AlwaysAuthenticate, "CKA_ALWAYS_AUTHENTICATE", false),
];

/// What to ask for when a key is made: everything a template may say.
pub(crate) fn private_template() -> Vec<Attribute> {
    vec![
        Attribute::Token(true),
        Attribute::Private(true),
        Attribute::Sensitive(true),
        Attribute::Extractable(false),
        Attribute::Sign(true),
        Attribute::Decrypt(false),
        Attribute::Unwrap(false),
        Attribute::Derive(false),
        Attribute::SignRecover(false),
        Attribute::Modifiable(false),
        Attribute::Copyable(false),
    ]
}

/// Prove every rule on this object; the answer is what was read: (CKA_ name, value).
///
/// # Errors
/// [`HsmError::Attribute`] with the first that is wrong.
pub(crate) fn prove(
    session: &Session,
    key: ObjectHandle,
    custody: KeyCustody,
) -> Result<Vec<(String, String)>, HsmError> {
    let asked = RULES.map(|rule| rule.attribute);
    // Attributes the token does not have are left out of the answer in silence: looked up by type, never by place.
    judge(&session.get_attributes(key, &asked)?, custody)
}

/// As [`prove`], of a key that waits for its backup: extractable still, sensitive and made here already.
pub(crate) fn prove_open(session: &Session, key: ObjectHandle) -> Result<Vec<(String, String)>, HsmError> {
    let found = session.get_attributes(key, &RULES.map(|rule| rule.attribute))?;
    let open = [
        AttributeType::Extractable,
        AttributeType::NeverExtractable,
        AttributeType::Modifiable,
    ];
    let rules = RULES.iter().filter(|rule| !open.contains(&rule.attribute));
    if let Some(wrong) = rules.map(|rule| rule.verdict(&found)).find(|verdict| !verdict.fits) {
        return Err(wrong.refusal());
    }
    Ok(RULES
        .iter()
        .map(|rule| rule.verdict(&found))
        .map(|verdict| (verdict.attribute.to_owned(), verdict.found.to_owned()))
        .collect())
}

/// One attribute of a key, as it is and as it must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttributeVerdict {
    /// CKA_ name.
    pub attribute: &'static str,
    /// What the token says: `true`, `false`, or that it does not tell.
    pub found: &'static str,
    /// `true` or `false`.
    pub wanted: &'static str,
    /// Whether a CA key may be so.
    pub fits: bool,
}

impl AttributeVerdict {
    fn refusal(&self) -> HsmError {
        HsmError::Attribute {
            attribute: self.attribute,
            found: self.found.to_owned(),
            wanted: self.wanted,
        }
    }
}

/// The verdict of every rule on this object, for a person: proves nothing.
pub(crate) fn verdicts(session: &Session, key: ObjectHandle) -> Result<Vec<AttributeVerdict>, HsmError> {
    let found = session.get_attributes(key, &RULES.map(|rule| rule.attribute))?;
    Ok(RULES.iter().map(|rule| rule.verdict(&found)).collect())
}

impl Rule {
    fn verdict(&self, found: &[Attribute]) -> AttributeVerdict {
        let value = found
            .iter()
            .find(|attribute| attribute.attribute_type() == self.attribute)
            .and_then(boolean);
        AttributeVerdict {
            attribute: self.name,
            found: match value {
                Some(true) => "true",
                Some(false) => "false",
                None => "not told by the token",
            },
            wanted: if self.wanted { "true" } else { "false" },
            fits: value == Some(self.wanted) || (value.is_none() && self.absent == Absent::Harmless),
        }
    }
}

fn judge(found: &[Attribute], custody: KeyCustody) -> Result<Vec<(String, String)>, HsmError> {
    let mut read = Vec::with_capacity(RULES.len());
    for rule in &RULES {
        let verdict = rule.verdict(found);
        if !verdict.fits && custody.asks(rule.attribute) {
            return Err(verdict.refusal());
        }
        read.push((verdict.attribute.to_owned(), verdict.found.to_owned()));
    }
    Ok(read)
}

pub(crate) fn boolean(attribute: &Attribute) -> Option<bool> {
    use Attribute as A;
    match attribute {
        A::Token(value) | A::Private(value) | A::Sensitive(value) | A::AlwaysSensitive(value) => Some(*value),
        A::Extractable(value) | A::NeverExtractable(value) | A::Local(value) | A::Sign(value) => Some(*value),
        A::Decrypt(value) | A::Unwrap(value) | A::Derive(value) | A::SignRecover(value) => Some(*value),
        A::Wrap(value) | A::Encrypt(value) | A::Modifiable(value) | A::Copyable(value) => Some(*value),
        A::Decapsulate(value) | A::AlwaysAuthenticate(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answer of a token on which everything is right.
    fn good() -> Vec<Attribute> {
        let mut all = private_template();
        all.extend([
            Attribute::AlwaysSensitive(true),
            Attribute::NeverExtractable(true),
            Attribute::Local(true),
            Attribute::AlwaysAuthenticate(false),
            Attribute::Wrap(false),
            Attribute::Encrypt(false),
            Attribute::Decapsulate(false),
        ]);
        all
    }

    #[test]
    fn an_attribute_the_token_does_not_tell_is_refused_where_it_must_be_proven() {
        let read = judge(&good(), KeyCustody::NeverLeaves).unwrap();
        assert_eq!(read.len(), RULES.len());
        for rule in &RULES {
            let answer: Vec<_> = good()
                .into_iter()
                .filter(|a| a.attribute_type() != rule.attribute)
                .collect();
            assert_eq!(answer.len(), good().len() - 1);
            match (judge(&answer, KeyCustody::NeverLeaves), rule.absent) {
                (Ok(_), Absent::Harmless) => {}
                (Err(HsmError::Attribute { attribute, found, .. }), Absent::Refused) => {
                    assert_eq!((attribute, found.as_str()), (rule.name, "not told by the token"));
                }
                (other, _) => panic!("{}: {other:?}", rule.name),
            }
        }
    }

    #[test]
    fn a_backed_up_key_has_a_past_but_is_closed_now() {
        for rule in &RULES {
            let answer: Vec<_> = good()
                .into_iter()
                .filter(|a| a.attribute_type() != rule.attribute)
                .collect();
            let past = KeyCustody::PAST.contains(&rule.attribute);
            let excused = past || rule.absent == Absent::Harmless;
            let outcome = judge(&answer, KeyCustody::WrappedBackup);
            assert_eq!(outcome.is_ok(), excused, "{}", rule.name);
        }
    }

    #[test]
    fn attributes_softhsm_does_not_keep_are_refused_when_set() {
        // The others are made wrong on a real token, in `crate::tests::attributes`.
        for (wrong, name) in [
            (Attribute::Wrap(true), "CKA_WRAP"),
            (Attribute::Encrypt(true), "CKA_ENCRYPT"),
            (Attribute::Decapsulate(true), "CKA_DECAPSULATE"),
        ] {
            let mut answer = good();
            answer.retain(|a| a.attribute_type() != wrong.attribute_type());
            answer.push(wrong);
            match judge(&answer, KeyCustody::NeverLeaves) {
                Err(HsmError::Attribute { attribute, .. }) => assert_eq!(attribute, name),
                other => panic!("{name}: {other:?}"),
            }
        }
    }
}
