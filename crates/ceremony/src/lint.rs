//! What is wrong with a plan before anybody enters the room: calendar, policy, inputs. X.509 is linted on the bytes
//! themselves ([`crate::making`]).

use attest::UnixTime;
use policies::{ProfileKind, Profiles};

use crate::calendar::{DAY, date, show, weekday};
use crate::inputs::Inputs;
use crate::{CertificatePlan, CrlPlan, Plan, Sha256, Work};

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Name of the rule.
    pub rule: &'static str,
    /// Whether the ceremony is refused for it; else it is for people to think about.
    pub refuses: bool,
    /// What was found.
    pub message: String,
}

struct Findings(Vec<Finding>);

impl Findings {
    fn refuse(&mut self, rule: &'static str, wrong: bool, message: impl FnOnce() -> String) {
        self.add(rule, true, wrong, message);
    }
    fn warn(&mut self, rule: &'static str, wrong: bool, message: impl FnOnce() -> String) {
        self.add(rule, false, wrong, message);
    }
    fn add(&mut self, rule: &'static str, refuses: bool, wrong: bool, message: impl FnOnce() -> String) {
        if wrong {
            self.0.push(Finding {
                rule,
                refuses,
                message: message(),
            });
        }
    }
}

/// The longest time between two CRLs of a root: a year and a month of slack.
const CRL_DAYS: i64 = 397;

/// Judge the plan and what came with it.
#[must_use]
pub fn lint(plan: &Plan, inputs: &Inputs, profiles: &Profiles) -> Vec<Finding> {
    let mut found = Findings(Vec::new());
    found.warn("day-of-week", weekend(plan.planned()), || {
        format!("the ceremony is planned for a {}", weekday(plan.planned()))
    });
    if let Some(certificate) = plan.work().certificate() {
        certificate_dates(plan, certificate, &mut found);
        policy(plan, certificate, inputs, profiles, &mut found);
        below(certificate, inputs, &mut found);
        asked(plan, certificate, inputs, &mut found);
    }
    if let Some(crl) = plan.work().crl() {
        crl_dates(plan, crl, inputs, &mut found);
    }
    if plan.quorum().required == 1 {
        found.warn("quorum", true, || "one officer alone can approve".into());
    }
    found.0
}

fn weekend(time: UnixTime) -> bool {
    matches!(weekday(time), "Saturday" | "Sunday")
}

fn leap_day(time: UnixTime) -> bool {
    date(time).is_some_and(|d| d.month() == 2 && d.day() == 29)
}

fn certificate_dates(plan: &Plan, wanted: &CertificatePlan, found: &mut Findings) {
    let (first, last) = (wanted.not_before, wanted.not_after);
    found.refuse("validity-order", last <= first, || {
        format!("it ends on {} and begins on {}", show(last), show(first))
    });
    for (word, time) in [("begins", first), ("ends", last)] {
        found.warn("leap-day", leap_day(time), || {
            format!("the certificate {word} on a 29 February: {}", show(time))
        });
    }
    found.warn("day-of-week", weekend(last), || {
        format!("the certificate ends on a {}: {}", weekday(last), show(last))
    });
    found.refuse("not-yet", first.0 > plan.planned().0, || {
        format!(
            "it begins on {}, after the ceremony on {}",
            show(first),
            show(plan.planned())
        )
    });
    found.warn("long-before", first.0 < plan.planned().0 - 30 * DAY, || {
        format!("it begins on {}, more than 30 days before the ceremony", show(first))
    });
}

fn policy(plan: &Plan, wanted: &CertificatePlan, inputs: &Inputs, profiles: &Profiles, found: &mut Findings) {
    let kind = match (plan.work(), &inputs.subject) {
        (Work::Root { .. }, _) => ProfileKind::Root,
        (_, Some(subject)) => subject.kind(),
        _ => ProfileKind::Issuing,
    };
    match profiles.get(&wanted.profile) {
        None => found.refuse("profile", true, || format!("there is no profile `{}`", wanted.profile)),
        Some(profile) => {
            found.refuse("profile", profile.kind() != kind, || {
                format!("`{}` is no profile for this kind of certificate", wanted.profile)
            });
            let lifetime = wanted.not_after.0.saturating_sub(wanted.not_before.0).saturating_add(1);
            found.refuse(
                "lifetime",
                profile.lifetime().is_some_and(|most| lifetime > most),
                || format!("{} days, and the profile allows fewer", lifetime / DAY),
            );
        }
    }
    if kind != ProfileKind::Root {
        found.refuse("no-crl-url", wanted.crl_url.is_none(), || {
            "a CA without a CRL distribution point can never be revoked".into()
        });
        found.refuse(
            "crl-url-is-ca-issuers",
            wanted.crl_url.is_some() && wanted.crl_url == wanted.ca_issuers_url,
            || "the CRL and the issuer's certificate have the same URL".into(),
        );
    }
}

fn below(wanted: &CertificatePlan, inputs: &Inputs, found: &mut Findings) {
    let Some(issuer) = &inputs.issuer else { return };
    found.refuse("beyond-issuer", wanted.not_after > issuer.not_after(), || {
        format!(
            "it ends on {}, its issuer on {}",
            show(wanted.not_after),
            show(issuer.not_after())
        )
    });
    found.refuse("before-issuer", wanted.not_before < issuer.not_before(), || {
        format!(
            "it begins on {}, its issuer on {}",
            show(wanted.not_before),
            show(issuer.not_before())
        )
    });
}

fn asked(plan: &Plan, wanted: &CertificatePlan, inputs: &Inputs, found: &mut Findings) {
    if let Some(request) = &inputs.request {
        let named = request.organization() == wanted.organization && request.common_name() == wanted.common_name;
        found.refuse("request-name", !named, || {
            format!(
                "the request is for `{}`, `{}`; the plan for `{}`, `{}`",
                request.organization(),
                request.common_name(),
                wanted.organization,
                wanted.common_name
            )
        });
        found.refuse("request-expired", request.not_after() < plan.planned(), || {
            format!("the request is good until {}", show(request.not_after()))
        });
        let own = plan.key().spki == Some(Sha256::of(request.spki()));
        found.refuse("key-reused", own, || "the request is for the issuer's own key".into());
    }
    if let Some(subject) = &inputs.subject {
        let named = subject.organization == wanted.organization && subject.common_name == wanted.common_name;
        found.refuse("subject-name", !named, || {
            format!(
                "the CA to be crossed is `{}`, `{}`; the plan is for `{}`, `{}`",
                subject.organization, subject.common_name, wanted.organization, wanted.common_name
            )
        });
        found.refuse("subject-key-id", !subject.usual_key_id, || {
            "what this CA issued names its key in another way than the cross-certificate would".into()
        });
        let own = plan.key().spki == Some(Sha256::of(&subject.spki));
        found.refuse("key-reused", own, || "the subject has the issuer's own key".into());
    }
}

fn crl_dates(plan: &Plan, wanted: &CrlPlan, inputs: &Inputs, found: &mut Findings) {
    let (this, next) = (wanted.this_update, wanted.next_update);
    found.refuse("crl-order", next <= this, || {
        format!("the next CRL is due on {}, this one is of {}", show(next), show(this))
    });
    found.warn("crl-too-long", next.0.saturating_sub(this.0) > CRL_DAYS * DAY, || {
        format!("the next CRL is due only on {}", show(next))
    });
    found.warn("day-of-week", weekend(next), || {
        format!("the next CRL is due on a {}: {}", weekday(next), show(next))
    });
    found.warn("leap-day", leap_day(next), || {
        "the next CRL is due on a 29 February".into()
    });
    let last = match (plan.work(), &inputs.issuer) {
        (Work::Root { certificate, .. }, _) => Some(certificate.not_after),
        (_, Some(issuer)) => Some(issuer.not_after()),
        _ => None,
    };
    found.refuse("beyond-issuer", last.is_some_and(|last| next > last), || {
        "the CRL would outlive its issuer".into()
    });
    found.refuse("not-yet", this.0 > plan.planned().0, || {
        format!(
            "the CRL is of {}, after the ceremony on {}",
            show(this),
            show(plan.planned())
        )
    });
    let alone = wanted.number > 1 && inputs.previous.is_none() && matches!(plan.work(), Work::Crl { .. });
    found.refuse("no-previous-crl", alone, || {
        format!("number {}, and the CRL before is not among the inputs", wanted.number)
    });
    if let Some(previous) = &inputs.previous {
        found.refuse("crl-number", wanted.number <= previous.number().get(), || {
            format!("number {}, and the CRL before has {}", wanted.number, previous.number())
        });
        found.refuse("crl-time", this <= previous.this_update(), || {
            format!(
                "it is of {}, the CRL before of {}",
                show(this),
                show(previous.this_update())
            )
        });
        for entry in previous.entries() {
            let kept = wanted
                .revoked
                .iter()
                .any(|r| r.serial == entry.serial && r.at == entry.at);
            found.refuse("unrevoked", !kept, || {
                format!(
                    "{} is revoked in the CRL before and not in the plan",
                    entry.serial.hex()
                )
            });
        }
    }
}
