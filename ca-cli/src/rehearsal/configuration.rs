//! The `server.toml` of a rehearsal.

use super::Answers;

/// `server.toml` for what was made. `docs/reference/config.md` explains every key.
pub(super) fn configuration(answers: &Answers, key_id: &[u8], responder_key_id: &[u8]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let uri = format!("pkcs11:token=holdfast-issuing?module-path={}", answers.module.display());
    let (status, urls) = if answers.pki_url.is_empty() {
        (String::new(), String::new())
    } else {
        let url = |path: &str| quoted(&format!("{}{path}", answers.pki_url));
        let crl = match answers.crl_shards {
            0 => format!("crl_url = {}\n", url("/crl/all.crl")),
            shards => format!("crl_url = {}\ncrl_shards = {shards}\n", url("/crl/{shard}.crl")),
        };
        (
            format!("status = {}\npublished = \"published\"\n", quoted(&answers.status)),
            format!(
                "ca_issuers_url = {}\n{crl}ocsp_url = {}\n",
                url("/ca/issuing.cer"),
                url("/ocsp")
            ),
        )
    };
    format!(
        r#"# Written by `ca-cli init`: a REHEARSAL hierarchy. Every key: docs/reference/config.md.
# check it:   ca-server --config server.toml --check

[server]
name = {name}
mode = "rehearsal"
public = {listen}
metrics = {metrics}
{status}admin = "admin.sock"

[tls]
certificate = "server-tls.pem"
key = "server-tls.key"

[database]
url = {database}

[hsm]
uri = {uri}
pin = {{ file = "secrets/issuing.pin" }}

[issuer]
certificate = "ca/chain.pem"
key_id = "{key_id}"
algorithm = {algorithm}
{urls}
# The OCSP responder answers when [server] has a `status` address; its URL in certificates: [issuer] ocsp_url.
[ocsp]
key_id = "{responder}"

[trust]
# Trust files (*.toml) with the roots of TPM vendors: docs/TRUST.md.
files = ["trust"]

[enrollment]
seal_key_file = "seal.key"

# Every certificate and every act is in an append-only tree, served below /ledger/ of [server] status.
[ledger]
origin = {origin}
key_file = "ledger.key"
head = "ledger.head"

# How far the database is, remembered outside of it: an older one is noticed at the start.
[anchor]
file = "anchor.json"

[audit]
file = "audit.jsonl"

[log]
format = "text"
"#,
        origin = quoted(&origin(&answers.pki_url)),
        name = quoted(&format!("{} (rehearsal)", answers.organization)),
        listen = quoted(&answers.listen),
        metrics = quoted(&answers.metrics),
        database = quoted(&answers.database),
        uri = quoted(&uri),
        key_id = hex::encode(key_id),
        responder = hex::encode(responder_key_id),
        algorithm = quoted(&answers.issuing_algorithm),
    )
}

/// The ledger's name: where it is served, without scheme (C2SP tlog-tiles).
fn origin(pki_url: &str) -> String {
    let place = pki_url.split_once("://").map_or(pki_url, |(_, place)| place);
    let place = place.trim_end_matches('/');
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && c != '+';
    if place.is_empty() || !place.chars().all(fits) {
        "holdfast.invalid/rehearsal/ledger".to_owned()
    } else {
        format!("{place}/ledger")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_ledger_is_its_place() {
        assert_eq!(origin("http://pki.example.net"), "pki.example.net/ledger");
        assert_eq!(
            origin("http://pki.example.net:8080/x/"),
            "pki.example.net:8080/x/ledger"
        );
        assert_eq!(origin(""), "holdfast.invalid/rehearsal/ledger");
    }
}
