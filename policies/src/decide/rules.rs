//! The Cedar rules: loaded once, strictly; asked once per certificate.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use attest::rot::RotKind;
use attest::{Assurance, KeyAlgorithm, Root};
use cedar_policy::{
    Authorizer, Context, Entities, EntityId, EntityTypeName, EntityUid, PolicyId, Request, RestrictedExpression,
    Schema, ValidationMode, Validator,
};

use super::{Denial, DenialCode, InventoryEntry};
use crate::{Advisories, Decision, ProfileKind, name};

/// Whether software roots of trust may be recognised at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Below a ceremony's root.
    Production,
    /// Below a rehearsal's root: demonstrations, whose certificates our verifier refuses elsewhere.
    Rehearsal,
}

/// Rules that do not load.
#[derive(Debug, Clone, thiserror::Error)]
#[error("policy: {0}")]
pub struct PolicyError(pub String);

/// The rules and their schema, parsed and validated once.
pub struct PolicySet {
    mode: Mode,
    schema: Schema,
    rules: cedar_policy::PolicySet,
    reasons: BTreeMap<String, String>,
    entities: Entities,
    types: Types,
    sha256: [u8; 32],
    /// Schema, then names and texts of the rules.
    texts: (String, Vec<(String, String)>),
    advisories: Advisories,
}

impl core::fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("PolicySet")
            .field("mode", &self.mode)
            .field("rules", &self.reasons.keys().collect::<Vec<_>>())
            .field("sha256", &hex::encode(self.sha256))
            .finish_non_exhaustive()
    }
}

/// Names of the schema's types, parsed once.
struct Types {
    device: EntityTypeName,
    profile: EntityTypeName,
    kind: EntityTypeName,
    level: EntityTypeName,
    rot: EntityTypeName,
    contact: EntityTypeName,
    basis: EntityTypeName,
    template: EntityTypeName,
    key: EntityTypeName,
    issue: EntityUid,
}

/// What the rules are asked about one certificate. Every field is a verified fact or the inventory's word.
pub(super) struct Question<'a> {
    pub(super) device: &'a str,
    pub(super) profile: &'a str,
    pub(super) kind: ProfileKind,
    /// Kind of the other certificate of the same conversation.
    pub(super) with: Option<ProfileKind>,
    pub(super) rot: RotKind,
    pub(super) level: Assurance,
    pub(super) root: &'a Root,
    pub(super) ak: KeyAlgorithm,
    pub(super) key: KeyAlgorithm,
    pub(super) entry: &'a InventoryEntry,
}

const SCHEMA: &str = include_str!("../../rules/schema.cedarschema");
const BUILTIN: [(&str, &str); 3] = [
    ("device.cedar", include_str!("../../rules/device.cedar")),
    ("guards.cedar", include_str!("../../rules/guards.cedar")),
    ("rehearsal.cedar", include_str!("../../rules/rehearsal.cedar")),
];

impl PolicySet {
    /// The rules shipped in `policies/rules/`.
    ///
    /// # Errors
    /// [`PolicyError`]; a test shows there is none.
    pub fn builtin(mode: Mode) -> Result<Self, PolicyError> {
        Self::load(mode, SCHEMA, &BUILTIN)
    }

    /// From a schema and `(file name, Cedar text)` pairs. Strict validation: any error or warning refuses.
    ///
    /// # Errors
    /// [`PolicyError`].
    pub fn from_sources(mode: Mode, schema: &str, rules: &[(String, String)]) -> Result<Self, PolicyError> {
        let rules: Vec<_> = rules
            .iter()
            .map(|(file, text)| (file.as_str(), text.as_str()))
            .collect();
        Self::load(mode, schema, &rules)
    }

    /// SHA-256 over schema and rules: each text preceded by its length as u64 big-endian, the schema first, then the
    /// rules in the order of their file names.
    #[must_use]
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// The same rules, with another table of advisories.
    #[must_use]
    pub fn with_advisories(self, advisories: Advisories) -> Self {
        Self { advisories, ..self }
    }

    /// What is known about TPMs.
    #[must_use]
    pub fn advisories(&self) -> &Advisories {
        &self.advisories
    }

    /// The schema, as it was read.
    #[must_use]
    pub fn schema_text(&self) -> &str {
        &self.texts.0
    }

    /// Names and texts of the files of rules, in the order of [`Self::sha256`].
    pub fn texts(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.1.iter().map(|(file, text)| (file.as_str(), text.as_str()))
    }

    /// What the rules were loaded for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Id and reason of each rule, sorted by id.
    pub fn rules(&self) -> impl Iterator<Item = (&str, &str)> {
        self.reasons.iter().map(|(id, reason)| (id.as_str(), reason.as_str()))
    }

    fn load(mode: Mode, schema_text: &str, sources: &[(&str, &str)]) -> Result<Self, PolicyError> {
        let mut sources = sources.to_vec();
        sources.sort_unstable();
        let schema = schema(schema_text)?;
        let mut rules = cedar_policy::PolicySet::new();
        let mut reasons = BTreeMap::new();
        for (file, text) in &sources {
            let parsed = cedar_policy::PolicySet::from_str(text).map_err(|e| PolicyError(format!("{file}: {e}")))?;
            if parsed.num_of_templates() != 0 {
                return Err(PolicyError(format!(
                    "{file}: a rule with a slot (template) decides nothing"
                )));
            }
            for rule in parsed.policies() {
                let (id, reason) = annotations(file, rule)?;
                if reasons.insert(id.clone(), reason).is_some() {
                    return Err(PolicyError(format!("{file}: two rules have the id `{id}`")));
                }
                rules
                    .add(rule.new_id(PolicyId::new(&id)))
                    .map_err(|e| PolicyError(format!("{file}: {e}")))?;
            }
        }
        let outcome = Validator::new(schema.clone()).validate(&rules, ValidationMode::Strict);
        if let Some(error) = outcome.validation_errors().next() {
            return Err(PolicyError(format!("does not fit the schema: {error}")));
        }
        if let Some(warning) = outcome.validation_warnings().next() {
            return Err(PolicyError(format!("does not fit the schema: {warning}")));
        }
        let entities = Entities::from_entities([], Some(&schema)).map_err(|e| PolicyError(format!("schema: {e}")))?;
        let texts = core::iter::once(schema_text).chain(sources.iter().map(|(_, text)| *text));
        let mut hash = openssl::sha::Sha256::new();
        for text in texts {
            hash.update(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(text.as_bytes());
        }
        Ok(Self {
            mode,
            schema,
            rules,
            reasons,
            entities,
            types: Types::new()?,
            sha256: hash.finish(),
            texts: (
                schema_text.to_owned(),
                sources
                    .iter()
                    .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
                    .collect(),
            ),
            advisories: Advisories::builtin().map_err(|e| PolicyError(e.to_string()))?,
        })
    }

    /// Ask the rules about one certificate.
    ///
    /// No permit, any forbid and any error of any rule is a no: Cedar skips a rule that errors, and a skipped forbid
    /// would be a yes.
    pub(super) fn ask(&self, question: &Question<'_>) -> Result<Decision, Denial> {
        let request = self.request(question).map_err(|e| {
            Denial::new(
                DenialCode::Policy,
                format!("the facts do not fit the schema of the rules: {e}"),
            )
        })?;
        let response = Authorizer::new().is_authorized(&request, &self.rules, &self.entities);
        let errors: Vec<String> = response.diagnostics().errors().map(ToString::to_string).collect();
        let mut rules: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        rules.sort_unstable();
        let reasons: Vec<String> = rules.iter().filter_map(|id| self.reasons.get(id).cloned()).collect();
        if !errors.is_empty() {
            let detail = format!("a rule could not be evaluated: {}", errors.join("; "));
            return Err(Denial::new(DenialCode::Policy, detail));
        }
        match response.decision() {
            cedar_policy::Decision::Allow => Ok(Decision {
                rules,
                reasons,
                policy_sha256: self.sha256,
            }),
            cedar_policy::Decision::Deny if rules.is_empty() => Err(Denial::new(
                DenialCode::Policy,
                format!("no rule permits this for level {}", question.level.as_str()),
            )),
            cedar_policy::Decision::Deny => Err(Denial {
                code: DenialCode::Policy,
                rules,
                detail: reasons.join("; "),
            }),
        }
    }

    fn request(&self, question: &Question<'_>) -> Result<Request, String> {
        let types = &self.types;
        let entry = question.entry;
        let word = |kind: &EntityTypeName, id: &str| RestrictedExpression::new_entity_uid(uid(kind, id));
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        let contact = if entry.ek_spki_sha256.is_some() || entry.iak_spki_sha256.is_some() {
            "bound"
        } else {
            "first-contact"
        };
        let names = entry
            .dns_names
            .len()
            .saturating_add(usize::from(entry.spiffe_id.is_some()));
        let rot = match question.rot {
            RotKind::Tpm => "tpm",
            RotKind::Vtpm => "vtpm",
            RotKind::Dice => "dice",
        };
        let required = [
            ("kind", word(&types.kind, question.kind.as_str())),
            ("rot", word(&types.rot, rot)),
            ("level", word(&types.level, question.level.as_str())),
            ("basis", word(&types.basis, question.root.basis().as_str())),
            ("ak_key", word(&types.key, question.ak.as_str())),
            ("key", word(&types.key, question.key.as_str())),
            ("contact", word(&types.contact, contact)),
            ("held", RestrictedExpression::new_bool(entry.held)),
            (
                "names",
                RestrictedExpression::new_long(i64::try_from(names).unwrap_or(i64::MAX)),
            ),
            (
                "rehearsal",
                RestrictedExpression::new_bool(self.mode == Mode::Rehearsal),
            ),
        ];
        let (ek, iak) = match question.root {
            Root::Ek(ek) => (Some(ek), None),
            Root::Iak(iak) => (None, Some(iak)),
        };
        let optional = [
            ("ek_template", ek.map(|ek| word(&types.template, ek.template.as_str()))),
            ("manufacturer", ek.map(|ek| text(&ek.manufacturer))),
            ("model", ek.map(|ek| text(&ek.model))),
            ("version", ek.map(|ek| text(&ek.version))),
            ("iak_anchor", iak.map(|iak| text(&iak.anchor))),
            ("with", question.with.map(|kind| word(&types.kind, kind.as_str()))),
            ("batch", entry.batch.as_deref().map(text)),
        ];
        let pairs = required
            .into_iter()
            .chain(optional.into_iter().filter_map(|(name, value)| Some((name, value?))))
            .map(|(name, value)| (name.to_owned(), value));
        let context = Context::from_pairs(pairs).map_err(|e| e.to_string())?;
        Request::new(
            uid(&types.device, question.device),
            types.issue.clone(),
            uid(&types.profile, question.profile),
            context,
            // The question is put together above and nowhere else; that it fits is checked wherever there are tests.
            cfg!(debug_assertions).then_some(&self.schema),
        )
        .map_err(|e| e.to_string())
    }
}

impl Types {
    fn new() -> Result<Self, PolicyError> {
        let parse = |name: &str| {
            EntityTypeName::from_str(&format!("Holdfast::{name}")).map_err(|e| PolicyError(format!("{name}: {e}")))
        };
        Ok(Self {
            device: parse("Device")?,
            profile: parse("Profile")?,
            kind: parse("Kind")?,
            level: parse("Level")?,
            rot: parse("Rot")?,
            contact: parse("Contact")?,
            basis: parse("Basis")?,
            template: parse("EkTemplate")?,
            key: parse("Key")?,
            issue: uid(&parse("Action")?, "issue"),
        })
    }
}

fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn schema(text: &str) -> Result<Schema, PolicyError> {
    let (schema, mut warnings) = Schema::from_cedarschema_str(text).map_err(|e| PolicyError(format!("schema: {e}")))?;
    match warnings.next() {
        None => Ok(schema),
        Some(warning) => Err(PolicyError(format!("schema: {warning}"))),
    }
}

/// `@id` and `@reason`, which every rule has: a decision is explained by them.
fn annotations(file: &str, rule: &cedar_policy::Policy) -> Result<(String, String), PolicyError> {
    let id = rule.annotation("id").unwrap_or_default();
    name::profile(id).map_err(|_| PolicyError(format!("{file}: rule `{}` has no @id like `some-words`", rule.id())))?;
    match rule.annotation("reason") {
        Some(reason) if !reason.trim().is_empty() => Ok((id.to_owned(), reason.to_owned())),
        _ => Err(PolicyError(format!("{file}: rule `{id}` has no @reason"))),
    }
}
