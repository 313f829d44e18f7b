//! The signatures: read in human words, signed by a key of no worth, then by the token, compared and judged again.

use anyhow::Context as _;
use attest::UnixTime;
use ceremony::step::{CERTIFICATE, CRL, Step};
use ceremony::transcript::Entry;
use ceremony::{Event, Sha256, making};
use issuance::{AuditRecord, CaKey, Issuer, IssuerUrls, Linted, Order, Recorder};

use super::failpoint::power_cut;
use super::run::Run;
use super::throwaway::Throwaway;
use crate::certificate::CertificateView;
use crate::exit::{Exit, Failure};
use crate::words;

fn refused(error: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::No, error.to_string()).fix("nothing was asked of the token")
}

impl Run<'_> {
    fn linted(&mut self, key: &dyn CaKey) -> Result<Linted, Failure> {
        let permission = self.permission()?;
        making::certificate(&self.plan, &self.inputs, key, &self.profiles, &permission).map_err(refused)
    }

    /// The bytes, linted; the same bytes signed by a key of no worth, read as any reader would; the words.
    pub(super) fn review_certificate(&mut self, done: &mut Entry) -> Result<(), Failure> {
        let key = self.key()?;
        let linted = self.linted(&key)?;
        let throwaway = Throwaway::draw(key.algorithm())?;
        let twin = linted.twin(&throwaway).map_err(refused)?;
        let view = CertificateView::read(&twin).map_err(refused)?;
        crate::certificate::strict(&twin).map_err(refused)?;
        if view.serial
            != self
                .plan
                .work()
                .certificate()
                .map(|c| c.serial.hex())
                .unwrap_or_default()
        {
            return Err(refused("the certificate is not read back as it was written"));
        }
        // The signature, and so the fingerprint, is the other key's: only what is above them counts here.
        let text: Vec<String> = view.words(words::now()).lines().map(str::to_owned).collect();
        let kept = text.iter().take_while(|l| !l.starts_with("sha256"));
        let text = kept.cloned().collect::<Vec<_>>().join("\n");
        self.show(&text);
        let tbs = Sha256::of(linted.tbs());
        done.facts.insert("tbs_sha256".into(), tbs.to_string());
        done.facts.insert("tbs".into(), hex::encode(linted.tbs()));
        Ok(())
    }

    /// What was read aloud is what is signed.
    fn as_reviewed(&self, tbs: &[u8]) -> Result<(), Failure> {
        let tbs = Sha256::of(tbs).to_string();
        let read = self
            .journal
            .records()
            .iter()
            .rfind(|r| r.event == Event::Done && r.facts.contains_key("tbs_sha256"));
        if read.and_then(|r| r.facts.get("tbs_sha256")) == Some(&tbs) {
            return Ok(());
        }
        Err(refused("the bytes to be signed are not those that were read aloud"))
    }

    pub(super) fn sign_certificate(&mut self, step: &Step, done: Entry) -> Result<Entry, Failure> {
        let key = self.key()?;
        let linted = self.linted(&key)?;
        self.as_reviewed(linted.tbs())?;
        let name = format!("outputs/{CERTIFICATE}");
        let serial = self.plan.work().certificate().map(|c| c.serial);
        let recorded = serial.and_then(|serial| self.medium.certificate(serial));
        if let Some(there) = self.room.get(&name)?.or(recorded) {
            // Signed before an interruption, and good: the token is not asked again.
            if !linted.signed_by_issuer(&there) {
                return Err(refused(format!("{name} is there, and is not what this plan makes")));
            }
            self.room.put(&name, &there)?;
            return Ok(done.output(CERTIFICATE, Sha256::of(&there)));
        }
        let order = self.order();
        let id = order.enrollment_id;
        let recorder: &dyn Recorder = &self.medium;
        let recorded = issuance::record(vec![linted], &order, recorder).context("intent")?;
        let mut signed = Vec::new();
        for one in recorded {
            signed.push(one.sign(&key).context("certificate")?);
        }
        power_cut("acted", step.number);
        let issued = issuance::issue(signed, &id, recorder).context("outcome")?;
        power_cut("recorded", step.number);
        let certificate = issued.first().context("nothing was issued")?.certificate().to_vec();
        // Again, from the beginning: plan, draft, lints, bytes, signature.
        if !self.linted(&key)?.signed_by_issuer(&certificate) {
            return Err(Failure::new(Exit::Failed, "the token signed something else: stop here"));
        }
        self.room.put(&name, &certificate)?;
        Ok(done.output(CERTIFICATE, Sha256::of(&certificate)))
    }

    fn order(&self) -> Order {
        let plan = self.plan.sha256();
        let mut id = [0; 16];
        id.copy_from_slice(plan.0.first_chunk::<16>().unwrap_or(&[0; 16]));
        let at = UnixTime(words::now());
        Order {
            enrollment_id: id,
            request_sha256: plan.0,
            device: None,
            evidence: None,
            transcript: None,
            renews: None,
            audit: AuditRecord {
                at,
                action: format!("{}.{}", self.mode.as_str(), self.plan.work().kind()),
                actor: format!("uid {}", rustix::process::getuid().as_raw()),
                subject: self.plan.name().to_owned(),
                reason: "ceremony".into(),
                detail: String::new(),
            },
            at,
        }
    }

    /// The CA that says which certificates are revoked: the input, or the root that was made a moment ago.
    fn crl_issuer(&mut self) -> Result<Issuer, Failure> {
        if let Some(issuer) = &self.inputs.issuer {
            return Ok(issuer.clone());
        }
        let der = self.room.get(&format!("outputs/{CERTIFICATE}"))?;
        let der = der.ok_or_else(|| refused("there is no certificate yet"))?;
        Issuer::from_chain(&[der], self.plan.key().algorithm, IssuerUrls::default()).map_err(refused)
    }

    pub(super) fn review_crl(&mut self, done: &mut Entry) -> Result<(), Failure> {
        let key = self.key()?;
        let issuer = self.crl_issuer()?;
        let linted = making::crl(&self.plan, &issuer).map_err(refused)?;
        let throwaway = Throwaway::draw(key.algorithm())?;
        let twin = linted.twin(&throwaway).map_err(refused)?;
        let read = openssl::x509::X509Crl::from_der(&twin).context("CRL")?;
        let listed = read.get_revoked().map_or(0, |stack| stack.len());
        if Some(listed) != self.plan.work().crl().map(|c| c.revoked.len()) {
            return Err(refused("the CRL is not read back as it was written"));
        }
        self.show(&format!(
            "issuer      {}\nnumber      {}\nrevoked     {listed}",
            crate::certificate::name_text(issuer.name()),
            linted.number()
        ));
        done.facts
            .insert("tbs_sha256".into(), Sha256::of(linted.tbs()).to_string());
        done.facts.insert("tbs".into(), hex::encode(linted.tbs()));
        Ok(())
    }

    pub(super) fn sign_crl(&mut self, step: &Step, done: Entry) -> Result<Entry, Failure> {
        // Asked again before this signature too.
        let _ = self.permission()?;
        let key = self.key()?;
        let issuer = self.crl_issuer()?;
        let linted = making::crl(&self.plan, &issuer).map_err(refused)?;
        self.as_reviewed(linted.tbs())?;
        let name = format!("outputs/{CRL}");
        if let Some(there) = self.room.get(&name)? {
            let crl = issuance::RawCrl::decode(there.clone()).and_then(|raw| raw.verify(&issuer));
            if !crl.is_ok_and(|crl| linted.is_of(&crl)) {
                return Err(refused(format!("{name} is there, and is not what this plan makes")));
            }
            return Ok(done.output(CRL, Sha256::of(&there)));
        }
        let crl = linted.sign(&key).context("CRL")?;
        power_cut("acted", step.number);
        if !making::crl(&self.plan, &issuer).map_err(refused)?.is_of(&crl) {
            return Err(Failure::new(Exit::Failed, "the token signed something else: stop here"));
        }
        self.room.put(&name, crl.der())?;
        Ok(done.output(CRL, Sha256::of(crl.der())))
    }
}
