//! `magic dev` deploys what is saved.

use serde_json::json;

use crate::folder::{ANY, Folder};
use crate::server::Server;

/// A saved file is deployed, a broken one is not and the old version goes on, a removed folder is removed.
#[test]
fn saving_deploys() {
    let folder = Folder::new();
    folder.controller("Number", ANY, "return {'n': 1}");
    let mut server = Server::dev(&folder);
    assert_eq!(
        server.execute("Number", "{}").json()["result"],
        json!({"n": 1})
    );

    folder.controller("Number", &format!("{ANY}# another\n"), "return {'n': 2}");
    server.event("deployed");
    assert_eq!(
        server.execute("Number", "{}").json()["result"],
        json!({"n": 2})
    );

    folder.write("controllers/number/controller.py", "this is not Python\n");
    let failed = server.event("failed");
    assert_eq!(failed["code"], "E4002");
    assert_eq!(
        server.execute("Number", "{}").json()["result"],
        json!({"n": 2})
    );

    folder.controller("Other", ANY, "return {}");
    while server.event("deployed")["controller"] != "Other" {}
    assert_eq!(server.execute("Other", "{}").status, 200);

    std::fs::remove_dir_all(folder.path().join("controllers/number")).expect("a folder");
    assert_eq!(server.event("removed")["controller"], "Number");
    server.execute("Number", "{}").assert_error(404, "E4004");
}

/// A change that is no change is not deployed again; the next event is that of a real one.
#[test]
fn the_same_content_again_is_silence() {
    let folder = Folder::new();
    folder.echo();
    let mut server = Server::dev(&folder);
    let before = server
        .call(&crate::http_client::Call::get("/api/controllers"))
        .json();
    folder.echo();
    folder.controller("Second", ANY, "return {}");
    assert_eq!(server.event("deployed")["controller"], "Second");
    let after = server
        .call(&crate::http_client::Call::get("/api/controllers/Echo"))
        .json();
    assert_eq!(
        after["deployed_at"],
        before["controllers"][0]["deployed_at"]
    );
}
