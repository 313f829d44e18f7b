//! Policy digests, and the sessions that satisfy them (TPM 2.0 Part 3, 23).

use attest::ek::EkTemplate;
use attest::tpm::HashAlgorithm;
use tss_esapi::constants::{CommandCode, SessionType};
use tss_esapi::handles::{AuthHandle, SessionHandle};
use tss_esapi::interface_types::algorithm::HashingAlgorithm;
use tss_esapi::interface_types::session_handles::{AuthSession, PolicySession};
use tss_esapi::structures::{Digest, DigestList, Nonce, SymmetricDefinition};

use super::{Chip, TpmError, explain};

const CC_POLICY_SECRET: u32 = 0x0000_0151;
const CC_POLICY_COMMAND_CODE: u32 = 0x0000_016C;
const CC_POLICY_OR: u32 = 0x0000_0171;
const CC_ACTIVATE_CREDENTIAL: u32 = 0x0000_0147;
const CC_CERTIFY: u32 = 0x0000_0148;
const RH_ENDORSEMENT: u32 = 0x4000_000B;

/// PolicyC of the EK Credential Profile (B.6.4): PolicyAuthorizeNV of the policy indices 01C07F01…03.
const POLICY_C_SHA256: [u8; 32] = [
    0x37, 0x67, 0xe2, 0xed, 0xd4, 0x3f, 0xf4, 0x5a, 0x3a, 0x7e, 0x1e, 0xae, 0xfc, 0xef, 0x78, 0x64, 0x3d, 0xca, 0x96,
    0x46, 0x32, 0xe7, 0xaa, 0xd8, 0x2c, 0x67, 0x3a, 0x30, 0xd8, 0x63, 0x3f, 0xde,
];
const POLICY_C_SHA384: [u8; 48] = [
    0xd6, 0x03, 0x2c, 0xe6, 0x1f, 0x2f, 0xb3, 0xc2, 0x40, 0xeb, 0x3c, 0xf6, 0xa3, 0x32, 0x37, 0xef, 0x2b, 0x6a, 0x16,
    0xf4, 0x29, 0x3c, 0x22, 0xb4, 0x55, 0xe2, 0x61, 0xcf, 0xfd, 0x21, 0x7a, 0xd5, 0xb4, 0x94, 0x7c, 0x2d, 0x73, 0xe6,
    0x30, 0x05, 0xee, 0xd2, 0xdc, 0x2b, 0x35, 0x93, 0xd1, 0x65,
];
const POLICY_C_SHA512: [u8; 64] = [
    0x58, 0x9e, 0xe1, 0xe1, 0x46, 0x54, 0x47, 0x16, 0xe8, 0xde, 0xaf, 0xe6, 0xdb, 0x24, 0x7b, 0x01, 0xb8, 0x1e, 0x9f,
    0x9c, 0x7d, 0xd1, 0x6b, 0x81, 0x4a, 0xa1, 0x59, 0x13, 0x87, 0x49, 0x10, 0x5f, 0xba, 0x53, 0x88, 0xdd, 0x1d, 0xea,
    0x70, 0x2f, 0x35, 0x24, 0x0c, 0x18, 0x49, 0x33, 0x12, 0x1e, 0x2c, 0x61, 0xb8, 0xf5, 0x0d, 0x3e, 0xf9, 0x13, 0x93,
    0xa4, 0x9a, 0x38, 0xc3, 0xf7, 0x3f, 0xc8,
];

/// An administrative command that [`admin`] permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AdminCommand {
    /// `TPM2_ActivateCredential` of an AK.
    Activate,
    /// `TPM2_Certify` of a key.
    Certify,
}

impl AdminCommand {
    fn code(self) -> u32 {
        match self {
            Self::Activate => CC_ACTIVATE_CREDENTIAL,
            Self::Certify => CC_CERTIFY,
        }
    }

    fn tss(self) -> CommandCode {
        match self {
            Self::Activate => CommandCode::ActivateCredential,
            Self::Certify => CommandCode::Certify,
        }
    }
}

/// nameAlg of an EK template.
pub(super) fn ek_hash(template: EkTemplate) -> HashAlgorithm {
    match template {
        EkTemplate::L1 | EkTemplate::L2 | EkTemplate::H1 | EkTemplate::H2 => HashAlgorithm::Sha256,
        EkTemplate::H3 | EkTemplate::H6 | EkTemplate::H7 => HashAlgorithm::Sha384,
        EkTemplate::H4 => HashAlgorithm::Sha512,
    }
}

pub(super) fn is_low_range(template: EkTemplate) -> bool {
    matches!(template, EkTemplate::L1 | EkTemplate::L2)
}

fn extend(hash: HashAlgorithm, old: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = old.to_vec();
    for part in parts {
        message.extend(*part);
    }
    hash.digest(&message)
}

fn start(hash: HashAlgorithm) -> Vec<u8> {
    vec![0; hash.digest_len()]
}

/// PolicyA: PolicySecret(endorsement hierarchy), empty policyRef.
pub(super) fn endorsement_secret(hash: HashAlgorithm) -> Vec<u8> {
    let once = extend(
        hash,
        &start(hash),
        &[&CC_POLICY_SECRET.to_be_bytes(), &RH_ENDORSEMENT.to_be_bytes()],
    );
    hash.digest(&once)
}

fn either(hash: HashAlgorithm, branches: &[Vec<u8>]) -> Vec<u8> {
    let all: Vec<u8> = branches.concat();
    extend(hash, &start(hash), &[&CC_POLICY_OR.to_be_bytes(), &all])
}

fn ek_high_branches(hash: HashAlgorithm) -> [Vec<u8>; 2] {
    let c: &[u8] = match hash {
        HashAlgorithm::Sha256 => &POLICY_C_SHA256,
        HashAlgorithm::Sha384 => &POLICY_C_SHA384,
        HashAlgorithm::Sha512 => &POLICY_C_SHA512,
    };
    [endorsement_secret(hash), c.to_vec()]
}

/// PolicyB: PolicyA or PolicyC.
pub(super) fn ek_high(hash: HashAlgorithm) -> Vec<u8> {
    either(hash, &ek_high_branches(hash))
}

fn admin_branches(hash: HashAlgorithm) -> [Vec<u8>; 2] {
    [AdminCommand::Activate, AdminCommand::Certify].map(|command| {
        extend(
            hash,
            &endorsement_secret(hash),
            &[&CC_POLICY_COMMAND_CODE.to_be_bytes(), &command.code().to_be_bytes()],
        )
    })
}

/// authPolicy of our IAK and IDevID: whoever may use the endorsement hierarchy may activate a credential for the key
/// and have it certified; nothing else is administered, the authValue stays empty for ever.
///
/// The TCG publishes a digest for this policy but the tree behind it could not be derived from public sources, and a
/// policy that cannot be satisfied makes a key that can never be activated, since these templates set adminWithPolicy.
pub(super) fn admin(hash: HashAlgorithm) -> Vec<u8> {
    either(hash, &admin_branches(hash))
}

fn tss_hash(hash: HashAlgorithm) -> HashingAlgorithm {
    match hash {
        HashAlgorithm::Sha256 => HashingAlgorithm::Sha256,
        HashAlgorithm::Sha384 => HashingAlgorithm::Sha384,
        HashAlgorithm::Sha512 => HashingAlgorithm::Sha512,
    }
}

impl Chip {
    /// Run `work` with a policy session, and flush the session whatever happens.
    fn with_policy<T>(
        &mut self,
        hash: HashAlgorithm,
        work: impl FnOnce(&mut Self, PolicySession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let during = "starting a session";
        let session = self
            .context
            .execute_without_session(|c| {
                c.start_auth_session(
                    None,
                    None,
                    None,
                    SessionType::Policy,
                    SymmetricDefinition::AES_128_CFB,
                    tss_hash(hash),
                )
            })
            .map_err(|e| explain(e, during))?
            .ok_or(TpmError::Malformed { what: "a session" })?;
        let result = PolicySession::try_from(session)
            .map_err(|e| explain(e, during))
            .and_then(|policy| work(self, policy));
        self.flush(SessionHandle::from(session).into());
        result
    }

    fn prove_endorsement(&mut self, session: PolicySession) -> Result<(), TpmError> {
        self.context
            .execute_with_session(Some(AuthSession::Password), |c| {
                c.policy_secret(
                    session,
                    AuthHandle::Endorsement,
                    Nonce::default(),
                    Digest::default(),
                    Nonce::default(),
                    None,
                )
            })
            .map(drop)
            .map_err(|e| explain(e, "proving the endorsement password"))
    }

    fn choose(&mut self, session: PolicySession, branches: &[Vec<u8>]) -> Result<(), TpmError> {
        let during = "satisfying a policy";
        let mut list = DigestList::new();
        for branch in branches {
            let digest = Digest::try_from(branch.as_slice()).map_err(|e| explain(e, during))?;
            list.add(digest).map_err(|e| explain(e, during))?;
        }
        self.context
            .execute_without_session(|c| c.policy_or(session, list))
            .map_err(|e| explain(e, during))
    }

    /// A session that satisfies the policy of an EK of this template.
    pub(super) fn with_ek_policy<T>(
        &mut self,
        template: EkTemplate,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        let hash = ek_hash(template);
        self.with_policy(hash, |chip, session| {
            chip.prove_endorsement(session)?;
            if !is_low_range(template) {
                chip.choose(session, &ek_high_branches(hash))?;
            }
            work(chip, session.into())
        })
    }

    /// A session that satisfies [`admin`] for one command.
    pub(super) fn with_admin_policy<T>(
        &mut self,
        hash: HashAlgorithm,
        command: AdminCommand,
        work: impl FnOnce(&mut Self, AuthSession) -> Result<T, TpmError>,
    ) -> Result<T, TpmError> {
        self.with_policy(hash, |chip, session| {
            chip.prove_endorsement(session)?;
            chip.context
                .execute_without_session(|c| c.policy_command_code(session, command.tss()))
                .map_err(|e| explain(e, "satisfying a policy"))?;
            chip.choose(session, &admin_branches(hash))?;
            work(chip, session.into())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ek_policies_are_those_of_the_profile() {
        let a = |hash| hex::encode(endorsement_secret(hash));
        let b = |hash| hex::encode(ek_high(hash));
        assert_eq!(
            a(HashAlgorithm::Sha256),
            "837197674484b3f81a90cc8d46a5d724fd52d76e06520b64f2a1da1b331469aa"
        );
        assert_eq!(
            b(HashAlgorithm::Sha256),
            "ca3d0a99a2b93906f7a3342414efcfb3a385d44cd1fd459089d19b5071c0b7a0"
        );
        assert_eq!(
            b(HashAlgorithm::Sha384),
            "b26e7d28d11a50bc53d882bcf5fd3a1a074148bb35d3b4e4cb1c0ad9bde419cacb47ba09699646150f9fc000f3f80e12"
        );
        assert!(b(HashAlgorithm::Sha512).starts_with("b8221ca69e8550a4914de3faa6a18c072cc01208"));
    }
}
