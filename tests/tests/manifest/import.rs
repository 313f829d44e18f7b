//! Many devices: interrupted, gone on with, all or nothing, and lines that are not the signed ones.

use device_kit::rig::Wanted;
use serde_json::{Value, json};

use crate::arrival::believing;
use crate::kit::*;

/// A table of so many devices; every `bad`th has an EK that another one has in `taken`.
fn many(count: usize) -> String {
    let lines = (0..count).map(|n| format!("D-{n:06},{}\n", ek(&format!("ek {n}"))));
    "serial,ek\n".to_owned() + &lines.collect::<String>()
}

/// The importer is killed, and the server too; the same command goes on where it stopped.
#[test]
fn an_import_goes_on_after_kill_9() {
    let mut rig = believing(&Wanted::default());
    let file = signed(&rig, "lot", "big", &many(6000));
    let file = file.to_str().unwrap();
    let read = |rig: &device_kit::rig::Rig| -> u64 {
        let (_, body) = rig.admin_call("GET", "/v1/manifests", b"");
        let page: Value = serde_json::from_slice(&body).unwrap_or_default();
        page["items"][0]["lines_read"].as_u64().unwrap_or(0)
    };
    let start = |rig: &device_kit::rig::Rig| {
        let mut command = rig.command("ca-cli");
        command
            .args(["manifest", "import", file])
            .stderr(std::process::Stdio::piped());
        command.stdout(std::process::Stdio::piped()).spawn().unwrap()
    };
    let mut child = start(&rig);
    while read(&rig) == 0 {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let first = read(&rig);
    assert!((1..6000).contains(&first), "{first}");
    // Nothing is expected before the end.
    let state = rig.sql("SELECT state FROM manifest");
    assert!(state.contains("open"), "{state}");
    let child = start(&rig);
    while read(&rig) <= first {
        std::thread::yield_now();
    }
    rig.kill();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(7));
    rig.start();
    let second = read(&rig);
    assert!((first..6000).contains(&second), "{second}");
    let output = run(&rig, &["manifest", "import", file]);
    let done = ends(&output, 0);
    assert!(
        errors(&output).contains(&format!("going on behind {second} of 6000 devices")),
        "{}",
        errors(&output)
    );
    assert_eq!(done["manifest"]["lines_read"], 6000);
    assert!(rig.sql("SELECT count(*) FROM expected").contains("6000"));
}

/// One line that does not fit.
#[test]
fn all_or_nothing_is_nothing_with_one_bad_line() {
    let rig = believing(&Wanted::default());
    let taken = signed(&rig, "lot", "first", &format!("serial,ek\nOTHER,{}\n", ek("ek 7")));
    ends(&run(&rig, &["manifest", "import", taken.to_str().unwrap()]), 0);
    let file = signed(&rig, "lot", "second", &many(20));
    let file = file.to_str().unwrap();
    let refused = run(&rig, &["manifest", "import", file, "--all-or-nothing"]);
    let told = ends(&refused, 5);
    assert_eq!(told["manifest"]["state"], "refused");
    assert_eq!(told["refused"].as_array().unwrap().len(), 1);
    assert_eq!(told["refused"][0]["line"], 9, "the line of the file");
    let stand =
        "SELECT count(*) FROM expected AS e JOIN manifest AS m ON m.id = e.manifest_id WHERE m.state = 'complete'";
    assert!(
        rig.sql(stand).trim().ends_with('1'),
        "only the first lot: {}",
        rig.sql(stand)
    );
    // Line by line the others are taken, and the exit code says that one is not.
    let told = ends(&run(&rig, &["manifest", "import", file]), 8);
    assert_eq!(
        (&told["manifest"]["lines_refused"], &told["manifest"]["state"]),
        (&json!(1), &json!("complete"))
    );
    assert!(rig.sql(stand).trim().ends_with("20"), "{}", rig.sql(stand));
    // It is told again as often as it is asked.
    let id = told["manifest"]["id"].to_string();
    let shown = ends(&run(&rig, &["manifest", "show", &id]), 0);
    assert_eq!(shown["refused"], told["refused"]);
    let list = ends(&run(&rig, &["manifest", "list"]), 0);
    assert_eq!(list["items"].as_array().unwrap().len(), 3);
}

/// What is sent is not what was signed: the server reads for itself, and expects nothing.
#[test]
fn lines_that_are_not_the_signed_ones_come_to_nothing() {
    let rig = believing(&Wanted::default());
    let file = signed(&rig, "lot", "honest", &many(3));
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let post = |path: &str, body: Value| {
        let (status, body) = rig.admin_call("POST", path, body.to_string().as_bytes());
        (status, serde_json::from_slice::<Value>(&body).unwrap_or_default())
    };
    let open = |header: &str, closing: &str, seal: &str| {
        post(
            "/v1/manifests",
            json!({ "header": header, "closing": closing, "seal": seal, "all_or_nothing": false }),
        )
    };
    // Signed is the closing line: another one, or another's signature, is no manifest.
    let other = lines[4].replace(":3,", ":2,");
    assert_eq!(open(lines[0], &other, lines[5]).0, 400);
    assert_eq!(open("{}", lines[4], lines[5]).0, 400);
    // A header that is not the signed one shows at the end.
    let (status, begun) = open(&lines[0].replace("honest", "forged"), lines[4], lines[5]);
    assert_eq!(status, 201);
    let id = begun["id"].as_i64().unwrap();
    let path = format!("/v1/manifests/{id}/lines");
    let (_, end) = post(&path, json!({ "from": 0, "lines": &lines[1..4] }));
    assert_eq!(end["state"], "refused");

    let (_, begun) = open(lines[0], lines[4], lines[5]);
    let id = begun["id"].as_i64().unwrap();
    let path = format!("/v1/manifests/{id}/lines");
    let forged = lines[2].replace(&ek("ek 1"), &ek("ek of a thief"));
    assert_eq!(
        post(&path, json!({ "from": 1, "lines": [lines[2]] })).0,
        409,
        "out of step"
    );
    assert_eq!(post(&path, json!({ "from": 0, "lines": [] })).0, 400);
    assert_eq!(
        post(&path, json!({ "from": 0, "lines": [lines[1], forged] })).1["state"],
        "open"
    );
    // Heard before: the same answer.
    assert_eq!(
        post(&path, json!({ "from": 0, "lines": [lines[1]] })).1["lines_read"],
        2
    );
    assert_eq!(
        post(&path, json!({ "from": 2, "lines": [lines[3], lines[3]] })).0,
        409,
        "more than there are"
    );
    assert_eq!(
        post(&path, json!({ "from": 2, "lines": [lines[3]] })).1["state"],
        "refused"
    );
    assert_eq!(
        post(&path, json!({ "from": 3, "lines": [lines[3]] })).0,
        409,
        "it is closed"
    );
    let stand = rig.sql("SELECT count(*) FROM manifest WHERE state = 'complete'");
    assert!(stand.trim().ends_with('0'), "{stand}");
    // The refused one is not in the way of the honest one.
    ends(&run(&rig, &["manifest", "import", "honest.signed"]), 0);
    // A lot has one manifest: with another root it is refused, on whatever terms.
    std::fs::remove_file(rig.path("honest.draft")).unwrap();
    std::fs::remove_file(rig.path("honest.signed")).unwrap();
    let other = signed(&rig, "lot", "honest", &many(4));
    let refused = run(&rig, &["manifest", "import", other.to_str().unwrap()]);
    ends(&refused, 5);
    assert!(errors(&refused).contains("another root"), "{}", errors(&refused));
}
