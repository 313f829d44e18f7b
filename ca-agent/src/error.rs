//! Everything that can go wrong, and what is said about it.

use settings::ConfigError;
use wire::Exit;

use crate::received::Unacceptable;
use crate::report::Report;
use crate::server::ServerError;
use crate::state::StateError;
use crate::tpm::{Lockout, NotATcti, TpmError};
use crate::words;

/// A command failed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The TPM.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The state directory.
    #[error(transparent)]
    State(#[from] StateError),
    /// What the server sent is not what was asked for.
    #[error(transparent)]
    Received(#[from] Unacceptable),
    /// `agent.toml`.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The command line.
    #[error("{message}")]
    Usage {
        /// What is wrong.
        message: String,
        /// What to write instead.
        fix: String,
    },
    /// The state directory met another root before.
    #[error("this state directory is pinned to another root")]
    Pinned {
        /// SHA-256 of the root it is pinned to, lower-case hex.
        found: String,
    },
    /// The CA refused one answer after the other as too late.
    #[error("the CA cannot use the answers of this TPM: they come too late, or their outcome was lost")]
    Void,
    /// The certificate ended before it was renewed.
    #[error("the certificate has ended, and what has ended is not renewed")]
    Ended,
    /// Output could not be written.
    #[error("writing the output failed: {0}")]
    Output(#[from] std::io::Error),
    /// The answer is no; everything worth saying was said.
    #[error("the answer is no")]
    No,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
}

impl From<NotATcti> for AgentError {
    fn from(error: NotATcti) -> Self {
        Self::Usage {
            message: error.to_string(),
            fix: "--tcti device:/dev/tpmrm0, or --tcti swtpm:host=127.0.0.1,port=2321".into(),
        }
    }
}

impl AgentError {
    /// What is said about it.
    #[must_use]
    pub fn report(&self) -> Report {
        match self {
            Self::Tpm(error) => tpm(error),
            Self::Server(error) => error.report(),
            Self::State(error) => error.report(),
            Self::Received(error) => Report::new("E-RECEIVED", Exit::Failed, error.to_string())
                .because("what the server sent is not a certificate for these keys below the pinned root")
                .fix("show this to the operator of the CA; nothing was stored"),
            Self::Config(error) => Report::new("E-CONFIG", error.exit(), error.to_string()),
            Self::Usage { message, fix } => Report::new("E-USAGE", Exit::Usage, message).fix(fix),
            Self::Pinned { found } => Report::new("E-ROOT-PINNED", Exit::NotAllowed, self.to_string())
                .because(format!("root.pem in it has SHA-256 {found}"))
                .fix("if this device shall have an identity of another CA too: use another --state-dir"),
            Self::Void => Report::new("E-CHALLENGE-VOID", Exit::TryAgain, self.to_string())
                .fix("run the same command again; if it comes back, show the CA's log to its operator"),
            Self::Ended => Report::new("E-ENDED", Exit::No, self.to_string())
                .fix("ca-agent enroll: the same keys get a new certificate"),
            Self::Output(error) => Report::new("E-OUTPUT", Exit::Failed, error.to_string()),
            Self::No => Report::new("E-NO", Exit::No, "the answer is no"),
            Self::NotFound(what) => Report::new("E-NOT-FOUND", Exit::NotFound, what),
        }
    }
}

fn tpm(error: &TpmError) -> Report {
    let report = |code: &str, exit: Exit| Report::new(code, exit, error.to_string());
    match error {
        TpmError::Absent { path } => report("E-TPM-ABSENT", Exit::Failed)
            .because("the kernel offers no such device")
            .fix("switch the TPM on in the firmware set-up; a virtual machine needs a vTPM")
            .fix("for a software TPM: --tcti swtpm:host=127.0.0.1,port=2321")
            .note(format!("looked for {}", path.display())),
        TpmError::Permission { path } => report("E-TPM-PERMISSION", Exit::NotAllowed)
            .because(format!("{} belongs to root and the group tss", path.display()))
            .fix("usermod -aG tss USER, then log in again; or run as the agent's user"),
        TpmError::Busy { path, holders } => report("E-TPM-BUSY", Exit::TryAgain)
            .because(if holders.is_empty() {
                format!("{} takes one program at a time", path.display())
            } else {
                format!("held by {}", holders.join(", "))
            })
            .fix("use --tcti device:/dev/tpmrm0, which many programs can share; or wait for the other one"),
        TpmError::NotReached { tcti, .. } => report("E-TPM-ABSENT", Exit::Failed)
            .because(format!("nothing that speaks TPM answers at {tcti}"))
            .fix("start the TPM or its emulator, or name another one with --tcti"),
        TpmError::Silent { .. } => report("E-TPM-BUSY", Exit::TryAgain)
            .because("a command was sent and never answered")
            .fix("try again; if it stays silent, restart the machine"),
        TpmError::Lockout(lockout) => tpm_lockout(error, lockout),
        TpmError::Authorisation { .. } => report("E-TPM-AUTH-SET", Exit::NotAllowed)
            .because("somebody set a password on the owner or the endorsement hierarchy")
            .fix("--owner-auth-file FILE and --endorsement-auth-file FILE with the passwords that were set"),
        TpmError::Memory { what, .. } => report("E-TPM-MEMORY", Exit::TryAgain)
            .because(format!("another program left an {what} in the TPM"))
            .fix("use --tcti device:/dev/tpmrm0, where the kernel keeps programs apart")
            .fix("or free what was left: tpm2_flushcontext -t, tpm2_flushcontext -l"),
        TpmError::FailureMode { .. } => report("E-TPM-FAILURE", Exit::Failed)
            .because("its self-test failed, or no TPM2_Startup was sent")
            .fix("restart the machine; if it comes back, the TPM is broken"),
        TpmError::Later { .. } => report("E-TPM-BUSY", Exit::TryAgain).fix("try again in a moment"),
        TpmError::Unsupported { .. } => report("E-TPM-UNSUPPORTED", Exit::Failed)
            .because("not every TPM has every curve, key size and hash")
            .fix("choose another with --key-alg, --ak-alg or --ek; p-256 and rsa-2048 are everywhere"),
        TpmError::NoEkCertificate { .. } => report("E-TPM-NO-EK-CERT", Exit::No)
            .because("the vendor left none in NV, as many virtual TPMs do")
            .fix("ca-agent identify shows what there is, and the hash of the EK")
            .fix("the operator of the CA can vouch for the key: ca-cli device allow NAME --ek HASH --vouch hardware"),
        TpmError::EkMismatch { .. } => report("E-TPM-EK-MISMATCH", Exit::No)
            .because("the EK was made from another template, or its seed was changed, or the certificate is another's")
            .fix("try the other endorsement with --ek rsa or --ek ecc"),
        TpmError::HandleTaken { .. } => report("E-TPM-HANDLE-TAKEN", Exit::Conflict)
            .because("the maker of the device, or another program, put a key there")
            .fix("place ours elsewhere: --persistent HANDLE for the identity key, --ak-handle HANDLE for the AK"),
        TpmError::KeyGone { .. } => report("E-TPM-KEY-GONE", Exit::Failed)
            .because("the TPM was cleared, or this is another TPM than the one the state directory belongs to")
            .fix("enroll again with a new --state-dir; the operator of the CA must release the old identity"),
        TpmError::Malformed { .. } => {
            report("E-TPM-MALFORMED", Exit::Failed).because("the bytes are not the structure that TPM 2.0 gives them")
        }
        TpmError::Response { .. } => report("E-TPM-RESPONSE", Exit::Failed)
            .fix("tpm2_rc_decode CODE says more; ca-agent doctor looks for the usual causes"),
    }
}

fn tpm_lockout(error: &TpmError, lockout: &Lockout) -> Report {
    let report = Report::new("E-TPM-LOCKOUT", Exit::TryAgain, error.to_string());
    let report = if lockout.interval.is_zero() {
        report
            .because(format!(
                "{} of {} tries used (TPM_RC_LOCKOUT)",
                lockout.tries, lockout.limit
            ))
            .when("never by itself")
    } else {
        report.because(format!(
            "{} of {} tries used; the TPM forgives one try every {} (TPM_RC_LOCKOUT)",
            lockout.tries,
            lockout.limit,
            words::span(lockout.interval)
        ))
    };
    let report = match lockout.next_try_in().filter(|t| !t.is_zero()) {
        Some(wait) => {
            let at = jiff::Zoned::now().checked_add(jiff::SignedDuration::try_from(wait).unwrap_or_default());
            let at = at.map(|t| t.strftime("%H:%M").to_string()).unwrap_or_default();
            report.when(format!(
                "first try possible at {at} (in {}), without anyone doing anything",
                words::span(wait)
            ))
        }
        None => report,
    };
    report
        .fix("wait; or, with the lockout password: tpm2_dictionarylockout --clear-lockout --auth file:FILE")
        .note("clearing the TPM in the firmware set-up destroys the identity of this device")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_lockout_says_when() {
        let error = AgentError::Tpm(TpmError::Lockout(Lockout {
            active: true,
            tries: 10,
            limit: 10,
            interval: Duration::from_secs(7200),
        }));
        let report = error.report();
        assert_eq!(report.exit, Exit::TryAgain);
        let text = report.to_string();
        assert!(text.starts_with("error[E-TPM-LOCKOUT]: "), "{text}");
        assert!(
            text.contains("10 of 10 tries used") && text.contains("(in 2 h 0 min)"),
            "{text}"
        );
    }

    #[test]
    fn every_tpm_fault_has_a_code_and_a_next_step_or_a_cause() {
        let faults = [
            TpmError::Absent {
                path: "/dev/tpmrm0".into(),
            },
            TpmError::Permission {
                path: "/dev/tpmrm0".into(),
            },
            TpmError::Busy {
                path: "/dev/tpm0".into(),
                holders: vec!["tpm2-abrmd (pid 7)".into()],
            },
            TpmError::Authorisation { during: "signing" },
            TpmError::Memory {
                what: "object",
                during: "loading a key",
            },
            TpmError::NoEkCertificate { wanted: Some("ECC") },
            TpmError::EkMismatch { index: 0x01C0_0002 },
            TpmError::HandleTaken { handle: 0x8102_0000 },
        ];
        let exits = [1, 6, 7, 6, 7, 3, 3, 5];
        for (fault, exit) in faults.into_iter().zip(exits) {
            let report = AgentError::Tpm(fault).report();
            assert!(report.code.starts_with("E-TPM-"));
            assert!(report.cause.is_some() && !report.fix.is_empty(), "{report}");
            assert_eq!(report.exit as u8, exit, "{report}");
        }
    }
}
