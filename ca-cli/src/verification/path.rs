//! The path from an anchor to the leaf, by OpenSSL, strict.

use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext};

use crate::certificate::CertificateView;

/// The path at this time, anchor first; or why there is none.
pub(super) fn build(
    leaf: &CertificateView,
    chain: &[CertificateView],
    anchors: &[CertificateView],
    at: i64,
) -> Result<Vec<CertificateView>, String> {
    let path = verify(leaf, chain, anchors, at).map_err(|e| e.to_string())??;
    let views: anyhow::Result<Vec<CertificateView>> = path.iter().rev().map(|der| CertificateView::read(der)).collect();
    views.map_err(|e| e.to_string())
}

/// DER of the path, leaf first; the inner error is the verdict, in OpenSSL's words.
fn verify(
    leaf: &CertificateView,
    chain: &[CertificateView],
    anchors: &[CertificateView],
    at: i64,
) -> Result<Result<Vec<Vec<u8>>, String>, ErrorStack> {
    let mut store = X509StoreBuilder::new()?;
    for anchor in anchors {
        store.add_cert(X509::from_der(&anchor.der)?)?;
    }
    let mut parameters = X509VerifyParam::new()?;
    parameters.set_flags(
        X509VerifyFlags::X509_STRICT | X509VerifyFlags::CHECK_SS_SIGNATURE | X509VerifyFlags::POLICY_CHECK,
    )?;
    // 112 bits and no SHA-1.
    parameters.set_auth_level(2);
    parameters.set_time(at);
    store.set_param(&parameters)?;
    let store = store.build();
    let mut untrusted = Stack::new()?;
    for certificate in chain {
        untrusted.push(X509::from_der(&certificate.der)?)?;
    }
    let leaf = X509::from_der(&leaf.der)?;
    X509StoreContext::new()?.init(&store, &leaf, &untrusted, |context| {
        if !context.verify_cert()? {
            let at = context.current_cert().and_then(|c| c.to_der().ok());
            let at = at
                .and_then(|der| CertificateView::read(&der).ok())
                .map(|view| view.short());
            let error = context.error();
            return Ok(Err(at.map_or_else(|| error.to_string(), |at| format!("{error} ({at})"))));
        }
        let path = context.chain().into_iter().flatten();
        path.map(|c| c.to_der()).collect::<Result<_, _>>().map(Ok)
    })
}
