//! Witnesses of the ledger, as processes: what they sign, what they refuse, and what a CA does whose word they have heard
//! otherwise.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a test that cannot go on stops"
)]

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use device_kit::rig::{Rig, Wanted, Witness, witness_terms};
use device_kit::soft_tpm::SoftTpm;
use ledger::{
    AddCheckpoint, Checkpoint, Consistency, Cosignature, Edge, Head, KeyName, Note, SignatureKind, SignedCheckpoint,
    SigningKey, VerifierKey, cosign, leaf_hash,
};

const ORIGIN: &str = "pki.example.net/ledger";

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The ledger's own key.
fn signing(rig: &Rig) -> SigningKey {
    let pem = std::fs::read(rig.path("ledger.key")).unwrap();
    SigningKey::from_pem(KeyName::new(ORIGIN).unwrap(), SignatureKind::Ed25519, &pem).unwrap()
}

/// A CA with witnesses, not yet running.
fn witnessed(wanted: &Wanted, names: &[&str]) -> (Rig, Vec<Witness>) {
    let rig = Rig::initialised(&wanted.clone().with_crls(0));
    let key = signing(&rig).verifier().to_string();
    let witnesses: Vec<Witness> = names.iter().map(|name| Witness::start(&rig, name, &key)).collect();
    ask(&rig, witnesses.iter().map(Witness::terms).collect(), &[]);
    (rig, witnesses)
}

/// Name these witnesses in server.toml.
fn ask(rig: &Rig, terms: Vec<toml::Value>, more: &[(&str, toml::Value)]) {
    let mut settings = vec![("ledger".to_owned(), "witness".to_owned(), toml::Value::Array(terms))];
    settings.extend(
        more.iter()
            .map(|(key, value)| ("ledger".to_owned(), (*key).to_owned(), value.clone())),
    );
    rig.configure(&settings);
}

fn enroll(rig: &Rig, name: &str) -> Result<(), u16> {
    let tpm = SoftTpm::p256(&rig.vendor);
    rig.allow(name, &tpm);
    let answered = rig
        .client()
        .enroll(&tpm, &tpm.request("device-ldevid", None, Some(name)));
    answered.map(drop).map_err(|refused| refused.status)
}

/// The checkpoint that is served, if there is one.
fn checkpoint(rig: &Rig) -> Option<SignedCheckpoint> {
    match rig.server().fetch("/ledger/checkpoint") {
        (200, body) => Some(SignedCheckpoint::parse(&body, signing(rig).verifier()).unwrap()),
        _ => None,
    }
}

fn size(rig: &Rig) -> u64 {
    checkpoint(rig).map_or(0, |signed| signed.head().size)
}

fn has_signed(signed: &SignedCheckpoint, witness: &Witness) -> bool {
    Cosignature::of(signed.note(), &VerifierKey::parse(witness.key()).unwrap()).is_ok()
}

/// Everything that is recorded is in a tree that is published.
fn settled(rig: &Rig) -> u64 {
    let entries = || rig.sql("SELECT count(*) FROM ledger_entry").parse::<u64>().unwrap();
    until("all entries are in a published tree", || size(rig) == entries());
    size(rig)
}

/// What `ca-cli ledger head` says, and its exit code.
fn head(rig: &Rig, more: &[&str]) -> (Option<i32>, String) {
    let from = format!("http://{}/ledger", rig.server().status());
    let key = signing(rig).verifier().to_string();
    let mut command = rig.command("ca-cli");
    command
        .args(["ledger", "head", "--from", &from, "--key", &key])
        .args(more);
    let output = command.output().unwrap();
    (
        output.status.code(),
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

fn two_witnesses(wanted: &Wanted) {
    let (mut rig, mut witnesses) = witnessed(wanted, &["w1.example.org", "w2.example.org"]);
    rig.start();
    enroll(&rig, "GW-1").unwrap();
    settled(&rig);
    let signed = checkpoint(&rig).unwrap();
    assert!(witnesses.iter().all(|witness| has_signed(&signed, witness)));
    assert_eq!(rig.server().metric("ca_ledger_witnesses"), 2.0);

    // As a stranger checks it.
    let by: Vec<&str> = witnesses
        .iter()
        .flat_map(|witness| ["--cosigned-by", witness.key()])
        .collect();
    let (code, said) = head(&rig, &by);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("checked; saw it 20").count(), 2, "{said}");
    let stranger = SigningKey::from_seed(KeyName::new("w3").unwrap(), SignatureKind::Cosignature, &[3; 32]).unwrap();
    let stranger = stranger.verifier().to_string();
    let (code, said) = head(&rig, &[&by[..], &["--cosigned-by", &stranger]].concat());
    assert!(
        code == Some(3) && said.contains("2 of 3 witnesses have signed it; not w3"),
        "{said}"
    );
    let (code, said) = head(
        &rig,
        &[&by[..], &["--cosigned-by", &stranger, "--quorum", "2"]].concat(),
    );
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = head(&rig, &["--cosigned-by", &signing(&rig).verifier().to_string()]);
    assert!(code == Some(2) && said.contains("not of a witness"), "{said}");

    // One is gone: with more than half wanted nothing is published; certificates are issued, and promises hold meanwhile.
    let before = size(&rig);
    witnesses[1].kill();
    enroll(&rig, "GW-2").unwrap();
    until("one witness is missed", || {
        rig.server().metric("ca_ledger_witnesses") == 1.0
    });
    assert_eq!(size(&rig), before);
    until("it is told", || {
        rig.log().contains("1 of 2 witnesses have signed: w2.example.org")
    });
    // It comes back, and remembers: both have signed what comes next.
    witnesses[1].go_on();
    settled(&rig);
    let signed = checkpoint(&rig).unwrap();
    assert!(signed.head().size > before);
    assert!(witnesses.iter().all(|witness| has_signed(&signed, witness)));

    // The server is killed and comes back; it does not know where they stand, and hears it.
    rig.kill();
    rig.start();
    enroll(&rig, "GW-3").unwrap();
    settled(&rig);
    let signed = checkpoint(&rig).unwrap();
    assert!(witnesses.iter().all(|witness| has_signed(&signed, witness)));
}

#[test]
fn two_witnesses_sign_each_checkpoint_on_sqlite() {
    two_witnesses(&Wanted::default());
}

#[test]
fn two_witnesses_sign_each_checkpoint_on_postgres() {
    two_witnesses(&Wanted::postgres());
}

#[test]
fn two_servers_share_their_witnesses() {
    let (mut rig, witnesses) = witnessed(&Wanted::postgres(), &["w1.example.org"]);
    rig.start();
    let other = rig.replica("other");
    for turn in 0..6 {
        let tpm = SoftTpm::p256(&rig.vendor);
        let name = format!("GW-{turn}");
        rig.allow(&name, &tpm);
        let client = if turn % 2 == 0 { rig.client() } else { other.client() };
        let _ = client
            .enroll(&tpm, &tpm.request("device-ldevid", None, Some(&name)))
            .unwrap();
    }
    settled(&rig);
    assert!(has_signed(&checkpoint(&rig).unwrap(), &witnesses[0]));
    for server in [rig.server(), &other] {
        let (status, said) = server.monitor("/readyz");
        assert_eq!(status, 200, "{said}");
    }
}

/// Asks a witness itself.
fn post(url: &str, body: &str) -> (u16, Option<String>, String) {
    let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
    let mut answer = agent.post(format!("{url}/add-checkpoint")).send(body).unwrap();
    let kind = answer
        .headers()
        .get("content-type")
        .map(|v| v.to_str().unwrap().to_owned());
    (
        answer.status().as_u16(),
        kind,
        answer.body_mut().read_to_string().unwrap(),
    )
}

/// A tree of so many leaves; another word makes other leaves.
fn tree(word: &str, leaves: u64) -> Head {
    let mut edge = Edge::empty();
    let hashes: Vec<_> = (0..leaves)
        .map(|i| leaf_hash(format!("{word}{i}").as_bytes()))
        .collect();
    let _ = edge.grow(&hashes).unwrap();
    edge.head()
}

fn request(key: &SigningKey, old: u64, head: Head, path: Vec<[u8; 32]>) -> String {
    let name = key.verifier().name().clone();
    let checkpoint = Checkpoint::new(name, head).sign(key).unwrap().note().clone();
    AddCheckpoint {
        old,
        proof: Consistency { path },
        checkpoint,
    }
    .to_string()
}

/// S03 for witnesses; each answer of C2SP tlog-witness, over HTTP, by exactly the check that gives it.
#[test]
fn a_witness_says_what_it_must() {
    let rig = Rig::initialised(&Wanted::default().with_crls(0));
    let key = signing(&rig);
    let mut witness = Witness::start(&rig, "w1.example.org", &key.verifier().to_string());
    let url = witness.url();
    let (one, two) = (tree("a", 1), tree("a", 2));
    let second = leaf_hash(b"a1");

    let (status, _, line) = post(&url, &request(&key, 0, one, vec![]));
    assert_eq!(status, 200, "{line}");
    let text = Checkpoint::new(key.verifier().name().clone(), one).text();
    let note = Note::parse(format!("{text}\n{line}").as_bytes()).unwrap();
    let own = VerifierKey::parse(witness.key()).unwrap();
    assert!(Cosignature::of(&note, &own).unwrap().time > 1_700_000_000);

    let stranger = SigningKey::from_seed(KeyName::new(ORIGIN).unwrap(), SignatureKind::Ed25519, &[9; 32]).unwrap();
    let unknown =
        SigningKey::from_seed(KeyName::new("other/ledger").unwrap(), SignatureKind::Ed25519, &[9; 32]).unwrap();
    for (body, expected) in [
        (request(&unknown, 0, one, vec![]), 404),
        (request(&stranger, 1, two, vec![second]), 403),
        (request(&key, 2, one, vec![]), 400),
        ("old 1\n".to_owned(), 400),
        (request(&key, 1, two, vec![[0; 32]]), 422),
        (request(&key, 1, two, vec![]), 422),
    ] {
        let (status, _, said) = post(&url, &body);
        assert_eq!(status, expected, "{body}{said}");
    }
    // It stands at one entry, and says so; another tree of one entry is not taken.
    for body in [request(&key, 0, two, vec![]), request(&key, 1, tree("b", 1), vec![])] {
        let (status, kind, said) = post(&url, &body);
        assert_eq!(
            (status, kind.as_deref(), said.as_str()),
            (409, Some("text/x.tlog.size"), "1\n")
        );
    }
    // Killed and started again it stands where it stood.
    witness.kill();
    witness.go_on();
    let url = witness.url();
    assert_eq!(post(&url, &request(&key, 0, two, vec![])).0, 409);
    assert_eq!(post(&url, &request(&key, 1, two, vec![second])).0, 200);
    // The same again is the same.
    assert_eq!(post(&url, &request(&key, 2, two, vec![])).0, 200);

    // Of many at once who would lead it to different trees, one is first.
    let signed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for word in 0..16 {
            let (key, url, signed) = (&key, &url, &signed);
            scope.spawn(move || {
                let third = leaf_hash(format!("fork{word}").as_bytes());
                let mut edge = Edge::empty();
                let _ = edge.grow(&[leaf_hash(b"a0"), second, third]).unwrap();
                let status = post(url, &request(key, 2, edge.head(), vec![third])).0;
                assert!(status == 200 || status == 409, "{status}");
                signed.fetch_add(usize::from(status == 200), Ordering::Relaxed);
            });
        }
    });
    assert_eq!(signed.into_inner(), 1);

    // A second one in the same folder, and a memory that somebody wrote in.
    let output = witness.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(78) && said.contains("another witness"),
        "{said}"
    );
    witness.kill();
    let folder = rig.path("w1.example.org.state");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let kept = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, kept.replacen("\n3\n", "\n2\n", 1)).unwrap();
    let output = witness.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(78) && said.contains("the signature of"),
        "{said}"
    );
}

/// What it does not begin with; a request that is longer than any may be.
#[test]
fn a_witness_refuses_to_begin_with_what_is_wrong() {
    let rig = Rig::initialised(&Wanted::default().with_crls(0));
    let ledger = signing(&rig).verifier().to_string();
    let mut witness = Witness::start(&rig, "w1.example.org", &ledger);
    let longest = "x".repeat(ledger::MAX_NOTE_BYTES + 64 * 64 + 1);
    assert_eq!(post(&witness.url(), &longest).0, 413);
    // Its memory is not for others: no core, nobody looks into it.
    let status = std::fs::read_to_string(format!("/proc/{}/limits", witness.pid())).unwrap();
    let cores = status
        .lines()
        .find(|line| line.starts_with("Max core file size"))
        .unwrap();
    assert_eq!(cores.split_whitespace().nth(4), Some("0"), "{cores}");
    witness.kill();
    let own = witness.key().to_owned();
    let key = rig.path("w1.example.org.key");
    for (what, more, says) in [
        ("a ledger twice", vec!["--ledger", &ledger], "named twice"),
        ("a witness for a ledger", vec!["--ledger", &own], "the key of a witness"),
        ("no key", vec!["--ledger", "nowhere.vkey"], "nowhere.vkey"),
    ] {
        let output = witness.refuses_with(&more);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(says), "{what}: {said}");
    }
    std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o640)).unwrap();
    let output = witness.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(2) && said.contains("others may read this secret"),
        "{said}"
    );
}

/// What it cannot remember it does not sign, and what it did not sign it does not stand at.
#[test]
fn a_witness_on_a_full_disk_signs_nothing() {
    let rig = Rig::initialised(&Wanted::default().with_crls(0));
    let Some(disk) = device_kit::small_disk::SmallDisk::wanted(&rig.path("w1.example.org.state")) else {
        return;
    };
    let key = signing(&rig);
    let mut witness = Witness::start(&rig, "w1.example.org", &key.verifier().to_string());
    let (one, two) = (tree("a", 1), tree("a", 2));
    assert_eq!(post(&witness.url(), &request(&key, 0, one, vec![])).0, 200);
    disk.fill();
    let next = request(&key, 1, two, vec![leaf_hash(b"a1")]);
    assert_eq!(post(&witness.url(), &next).0, 503);
    assert_eq!(post(&witness.url(), &request(&key, 0, two, vec![])).2, "1\n");
    disk.free();
    assert_eq!(post(&witness.url(), &next).0, 200);
    witness.kill();
}

/// Somebody who answers HTTP as `answer` says, which is given the body of the request.
struct Somebody {
    url: String,
    asked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
}

impl Somebody {
    fn who(answer: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (asked, over) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (counted, ended) = (Arc::clone(&asked), Arc::clone(&over));
        let answer = Arc::new(answer);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                counted.fetch_add(1, Ordering::Relaxed);
                let answer = Arc::clone(&answer);
                std::thread::spawn(move || serve(stream, answer.as_ref()));
            }
        });
        Self { url, asked, over }
    }
}

impl Drop for Somebody {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.url.strip_prefix("http://").unwrap());
    }
}

/// One request; without an answer the connection stays open until the other side has had enough.
fn serve(mut stream: TcpStream, answer: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<()> {
    let mut bytes = Vec::new();
    let (begin, length) = loop {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
        let text = String::from_utf8_lossy(&bytes).to_ascii_lowercase();
        if let Some(end) = text.find("\r\n\r\n") {
            let length = text
                .split("content-length: ")
                .nth(1)?
                .split("\r\n")
                .next()?
                .parse::<usize>()
                .ok()?;
            break (end + 4, length);
        }
    };
    while bytes.len() < begin + length {
        let mut more = [0; 4096];
        let count = stream.read(&mut more).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&more[..count]);
    }
    match answer(&String::from_utf8_lossy(&bytes[begin..])) {
        Some(answer) => stream.write_all(&answer).ok()?,
        None => {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
    Some(())
}

fn http(status: u16, body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status} X\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn own() -> SigningKey {
    SigningKey::from_seed(
        KeyName::new("w2.example.org").unwrap(),
        SignatureKind::Cosignature,
        &[2; 32],
    )
    .unwrap()
}

fn note_of(request: &str) -> Note {
    AddCheckpoint::parse(request.as_bytes()).unwrap().checkpoint
}

/// Nothing that is no cosignature counts as one, however it is dressed; and nobody who is slow or strange stops the others.
#[test]
fn what_is_no_cosignature_does_not_count() {
    let (mut rig, witnesses) = witnessed(&Wanted::default(), &["w1.example.org"]);
    let another = SigningKey::from_seed(
        KeyName::new("w2.example.org").unwrap(),
        SignatureKind::Cosignature,
        &[4; 32],
    )
    .unwrap();
    type Answer = Box<dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync>;
    let signs = |key: SigningKey, change: fn(String) -> String| -> Answer {
        Box::new(move |request| {
            Some(http(
                200,
                &cosign(&key, &change(note_of(request).text().to_owned()), 7)
                    .unwrap()
                    .to_string(),
            ))
        })
    };
    let fixed = |answer: Vec<u8>| -> Answer { Box::new(move |_| Some(answer.clone())) };
    let answers: Vec<(&str, Answer)> = vec![
        ("somebody else's key", signs(another, |text| text)),
        ("of another tree", signs(own(), |text| text.replacen("\n", "\n1", 1))),
        ("no signature line", fixed(http(200, "fine\n"))),
        ("nothing", fixed(http(200, ""))),
        ("an error", fixed(http(500, "oh"))),
        ("not known there", fixed(http(404, ""))),
        ("not allowed there", fixed(http(403, ""))),
        (
            "elsewhere",
            fixed(b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n".to_vec()),
        ),
        ("no HTTP", fixed(b"\0\0\0\0".to_vec())),
        ("without an end", fixed([http(200, ""), vec![b'x'; 1 << 20]].concat())),
        ("a size that is none", fixed(http(409, "many\n"))),
        ("no answer at all", Box::new(|_| None)),
    ];
    let key = own().verifier().to_string();
    for (what, answer) in answers {
        let somebody = Somebody::who(answer);
        let terms = vec![witnesses[0].terms(), witness_terms(&somebody.url, &key)];
        ask(
            &rig,
            terms,
            &[
                ("quorum", toml::Value::from(1)),
                ("witness_timeout", toml::Value::from("1s")),
            ],
        );
        rig.start();
        enroll(&rig, &format!("GW-{}", somebody.url.rsplit(':').next().unwrap())).unwrap();
        settled(&rig);
        let signed = checkpoint(&rig).unwrap();
        assert!(has_signed(&signed, &witnesses[0]), "{what}");
        assert!(Cosignature::of(signed.note(), own().verifier()).is_err(), "{what}");
        assert_eq!(rig.server().metric("ca_ledger_witnesses"), 1.0, "{what}");
        assert!(somebody.asked.load(Ordering::Relaxed) > 0, "{what}");
        assert_eq!(rig.stop(), Some(0), "{what}");
    }
    // The right one counts: what was tried above is refused for what it is.
    let honest = Somebody::who(signs(own(), |text| text));
    ask(
        &rig,
        vec![witnesses[0].terms(), witness_terms(&honest.url, &key)],
        &[("quorum", toml::Value::from(2))],
    );
    rig.start();
    enroll(&rig, "GW-last").unwrap();
    settled(&rig);
    assert!(Cosignature::of(checkpoint(&rig).unwrap().note(), own().verifier()).is_ok());
}

/// Halted, and for this reason; and a start with it is refused.
fn refuses(rig: &mut Rig, why: &str) {
    until("the house is halted", || rig.server().metric("ca_halted") == 1.0);
    assert_eq!(enroll(rig, "GW-late"), Err(503));
    let (status, said) = rig.server().monitor("/readyz?verbose");
    assert!(status == 503 && said.contains(why), "{said}");
    rig.kill();
    let output = rig.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(78) && said.contains(why), "{said}");
}

/// A witness has seen another tree under our name: of the same size, of another beginning, longer than ours.
#[test]
fn a_witness_that_has_seen_another_tree_ends_issuing() {
    for (grown, why) in [
        (-1, "are not those on record"),
        (1000, "it is older than what was said"),
    ] {
        let (mut rig, _) = witnessed(&Wanted::default(), &[]);
        let key = signing(&rig);
        let mut witness = Witness::start(&rig, "w1.example.org", &key.verifier().to_string());
        rig.start();
        enroll(&rig, "GW-1").unwrap();
        let here = settled(&rig);
        assert_eq!(rig.stop(), Some(0));
        // What the server recorded at its end is signed, too.
        let here: u64 = rig.sql("SELECT size FROM ledger").parse().unwrap_or(here);
        let there = tree("another", here.saturating_add_signed(grown));
        assert_eq!(post(&witness.url(), &request(&key, 0, there, vec![])).0, 200);
        // While it runs: it comes up while the witness is away, and hears of it later.
        witness.kill();
        ask(&rig, vec![witness.terms()], &[]);
        rig.start();
        witness.go_on();
        refuses(&mut rig, why);
    }
}

/// It stands at the very tree it is shown, and yet does not sign it: it has another one of that size.
#[test]
fn a_witness_that_has_seen_another_tree_of_the_same_size_ends_issuing() {
    let (mut rig, _) = witnessed(&Wanted::default(), &[]);
    let elsewhere = Somebody::who(|request| {
        let size = Checkpoint::parse(note_of(request).text()).unwrap().head.size;
        Some(http(409, &format!("{size}\n")))
    });
    ask(
        &rig,
        vec![witness_terms(&elsewhere.url, &own().verifier().to_string())],
        &[],
    );
    let output = rig.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() == Some(78) && said.contains("with another root"),
        "{said}"
    );
    // Not of its own accord: with a witness who is only away it starts.
    ask(
        &rig,
        vec![witness_terms("http://127.0.0.1:1", &own().verifier().to_string())],
        &[],
    );
    rig.start();
}

/// S03: yesterday's database is put back, and everything else that this server remembered with it; a witness was elsewhere.
#[test]
fn s03_a_witness_remembers_what_the_house_forgot() {
    let (mut rig, _witnesses) = witnessed(&Wanted::default(), &["w1.example.org"]);
    rig.start();
    enroll(&rig, "GW-1").unwrap();
    settled(&rig);
    assert_eq!(rig.stop(), Some(0));
    let yesterday = rig.path("yesterday");
    std::fs::create_dir(&yesterday).unwrap();
    for file in ["ca.db", "ledger.head", "anchor.json"] {
        std::fs::copy(rig.path(file), yesterday.join(file)).unwrap();
    }
    rig.start();
    enroll(&rig, "GW-2").unwrap();
    settled(&rig);
    assert_eq!(rig.stop(), Some(0));
    for behind in ["ca.db-wal", "ca.db-shm"] {
        let _ = std::fs::remove_file(rig.path(behind));
    }
    for file in ["ca.db", "ledger.head", "anchor.json"] {
        std::fs::copy(yesterday.join(file), rig.path(file)).unwrap();
    }
    let output = rig.refuses_to_start();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("the witness w1.example.org has seen"), "{said}");
}

/// Killed before the witness hears of a tree, and after it signed it and before the server hears that: the next start goes on.
#[test]
fn killed_on_either_side_of_the_witness_the_ledger_goes_on() {
    let (mut rig, witnesses) = witnessed(&Wanted::default(), &["w1.example.org"]);
    let pid = Arc::new(AtomicU32::new(0));
    let order = Arc::new(Mutex::new(None::<bool>));
    let (victim, wanted, behind) = (Arc::clone(&pid), Arc::clone(&order), witnesses[0].url());
    let between = Somebody::who(move |request| {
        let kill = || {
            let pid = i32::try_from(victim.load(Ordering::SeqCst)).unwrap();
            rustix::process::kill_process(
                rustix::process::Pid::from_raw(pid).unwrap(),
                rustix::process::Signal::KILL,
            )
            .unwrap();
        };
        let order = wanted.lock().unwrap().take();
        if order == Some(false) {
            kill();
            return None;
        }
        let (status, _, body) = post(&behind, request);
        if order == Some(true) {
            kill();
            return None;
        }
        Some(http(status, &body))
    });
    ask(&rig, vec![witness_terms(&between.url, witnesses[0].key())], &[]);
    let mut last = 0;
    for (turn, after) in [false, true, true, false].into_iter().enumerate() {
        rig.start();
        pid.store(rig.pid(), Ordering::SeqCst);
        until("what was before is published", || size(&rig) > last);
        *order.lock().unwrap() = Some(after);
        let _ = enroll(&rig, &format!("GW-{turn}"));
        rig.stop_waiting();
        assert_eq!(*order.lock().unwrap(), None);
        last = rig.sql("SELECT coalesce(signed_size, 0) FROM ledger").parse().unwrap();
    }
    rig.start();
    let whole = settled(&rig);
    assert!(whole > last);
    assert!(has_signed(&checkpoint(&rig).unwrap(), &witnesses[0]));
}
