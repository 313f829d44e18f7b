//! The root's CRL of every year: a number that grows, times that go on, and no revocation that is forgotten.

use crate::kit::{Desk, OnlineToken, Said, fill, in_days, token_of};

/// C03, R02: each alone, all else good: what does not follow the CRL before is no plan.
#[test]
fn a_crl_follows_the_one_before_and_takes_its_place() {
    let desk = Desk::new();
    desk.rehearsed_root();
    let output = |name: &str, file: &str| std::fs::read(desk.path(name).join("medium/outputs").join(file)).unwrap();
    desk.put("root.cer", &output("root", "certificate.cer"));
    desk.put("before.crl", &output("root", "ca.crl"));
    OnlineToken::new(&desk).request("issuing.csr", "01").done();
    let token = token_of(&desk.path("root/medium"));
    let pin = ["--pin-file", "root/secrets/token.pin"];
    let rehearse = |name: &str| {
        let plan = format!("{name}.toml");
        desk.run(&[&["ceremony", "rehearse", &plan, "--dir", name][..], &pin].concat())
    };
    desk.issuing_plan("issuing", &token);
    rehearse("issuing").done();
    desk.crl_plan("second", &token, &output("issuing", "certificate.cer"));
    rehearse("second").done();
    desk.put("second.crl", &output("second", "ca.crl"));

    // The third.
    let planned = in_days(140);
    let new = [
        "ceremony",
        "new",
        "--kind",
        "crl",
        "--name",
        "example-crl-3",
        "--issuer",
        "root.cer",
    ];
    let new = [&new[..], &["--previous-crl", "second.crl", "--planned", &planned]].concat();
    let third = fill(desk.run(&new).done().out, "", "", &token);
    assert!(third.contains("number = 3\n"), "{third}");
    let second = std::fs::read_to_string(desk.path("second.toml")).unwrap();
    let (_, revoked) = second.split_once("\n[[crl.revoked]]").unwrap();
    let good = format!("{third}\n[[crl.revoked]]{revoked}");
    let line = |text: &str, key: &str| {
        let found = text.lines().find(|l| l.starts_with(&format!("{key} = ")));
        found.unwrap().to_owned()
    };
    let lint = |plan: &str| -> Said {
        desk.put("bad.toml", plan.as_bytes());
        desk.run(&["ceremony", "lint", "bad.toml"])
    };
    lint(&good).done();
    let this = line(&good, "this_update");
    let (at, since) = (line(revoked, "at"), format!("at = \"{}\"", in_days(71)));
    let input = good
        .split("[input.")
        .find(|block| block.starts_with("previous-crl]"))
        .unwrap();
    let input = format!("[input.{}", input.split("\n\n").next().unwrap());
    for (from, to, words) in [
        ("number = 3", "number = 2", "crl-number"),
        ("number = 3", "number = 1", "crl-number"),
        (&this, &line(&second, "this_update"), "crl-time"),
        (&format!("[[crl.revoked]]{revoked}"), "", "unrevoked"),
        (&at, &since, "unrevoked"),
        (&input, "", "no-previous-crl"),
    ] {
        assert!(good.contains(from), "{from}\n{good}");
        let said = lint(&good.replacen(from, to, 1));
        let refused: Vec<&str> = said.out.lines().filter(|l| l.contains("refused")).collect();
        assert!(said.code == Some(3), "{from} -> {to}: {said:?}");
        assert!(
            refused.len() == 1 && refused[0].contains(words),
            "{from} -> {to}: {said:?}"
        );
    }

    // Published, it gives way to a later one and to nothing else: not to an earlier one, and not to another of its number.
    let publish = |name: &str, archive: &str| {
        let archive = format!("{name}/{archive}.tar");
        desk.run(&["ceremony", "import", &archive, "--to", "published", "--rehearsal"])
    };
    let published = || std::fs::read(desk.path("published/root.crl")).unwrap();
    publish("root", "example-root-r1").done();
    publish("second", "example-crl-2").done();
    assert_eq!(published(), output("second", "ca.crl"));
    let next = line(&second, "next_update");
    let other = second.replace(&next, &format!("next_update = \"{}\"", in_days(200)));
    desk.put(
        "other.toml",
        other.replace("example-crl-2", "example-crl-2b").as_bytes(),
    );
    rehearse("other").done();
    for (name, archive) in [("other", "example-crl-2b"), ("root", "example-root-r1")] {
        let said = publish(name, archive);
        assert!(
            said.code == Some(5) && said.err.contains("later CRL"),
            "{name}: {said:?}"
        );
        assert_eq!(published(), output("second", "ca.crl"), "{name}");
    }
    publish("second", "example-crl-2").done();
    desk.put("third.toml", good.as_bytes());
    rehearse("third").done();
    publish("third", "example-crl-3").done();
    assert_eq!(published(), output("third", "ca.crl"));
}
