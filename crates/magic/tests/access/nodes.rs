//! Callers of several nodes, and local ones.

use super::*;

/// Nodes share keys and their revocations. Without its store a node goes on with the keys it knows, for as long as it may.
#[test]
fn nodes_share_keys_and_do_without_their_store_for_a_while() {
    let mut postgres = Postgres::start();
    let url = postgres.database("state");
    let environment = [
        ("MAGIC_STORE_URL", url.as_str()),
        ("MAGIC_KEY_STALENESS", "5s"),
        ("ADMIN_API_KEY", ADMIN_KEY),
        ("JWT_SECRET", SECRET),
    ];
    let settings = "[http]\nfailed_attempts = 1000000\n";
    let (_one, first) = served(settings, &environment);
    let (_two, second) = served(settings, &environment);
    let (key, _) = make_key(&first, &json!({"name": "kept", "roles": ["read"]}));
    let (other, id) = make_key(&first, &json!({"name": "revoked", "roles": ["read"]}));
    let ask = |key: &str| second.call(&with_key(Call::get("/api/policy"), key));
    until("both keys open the other node", || {
        (ask(&key).status == 200 && ask(&other).status == 200).then_some(())
    });
    let call = with_key(Call::new("DELETE", &format!("/api/keys/{id}")), ADMIN_KEY);
    assert_eq!(first.call(&call).status, 200);
    until("the other node hears of it", || {
        (ask(&other).status == 401).then_some(())
    });

    postgres.stop();
    assert_eq!(ask(&key).status, 200, "it is known, and not old yet");
    until("what is known is too old", || {
        (ask(&key).status == 401).then_some(())
    });
    let refused = ask(&key).assert_error(401, "E5002");
    assert_eq!(refused["error"]["details"]["reason"], "store");
    assert_eq!(ask(ADMIN_KEY).status, 200);
    let claims = json!({"sub": "ada", "exp": in_an_hour(), "roles": ["read"]});
    let bearer = format!("Bearer {}", token(&claims));
    let by_token = Call::get("/api/policy").header("Authorization", &bearer);
    assert_eq!(second.call(&by_token).status, 200);
    postgres.resume();
    until("the keys are known again", || {
        (ask(&key).status == 200).then_some(())
    });
    ask(&other).assert_error(401, "E5002");
}

/// The kernel vouches for local users: those of the configured group have its role, others do not get in.
#[test]
fn local_users_have_their_groups_role() {
    const GROUP: u32 = 65_533;
    const NOBODY: u32 = 65_534;
    let environment = [
        ("MAGIC_SOCKET_GROUP", "65533"),
        ("MAGIC_SOCKET_ROLE", "read"),
    ];
    let (folder, _server) = served("", &environment);
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o711))
        .expect("a mode");
    let ask = |uid: u32, gid: u32, method: &str, path: &str| {
        let program = "import http.client, socket, sys\n\
             connection = http.client.HTTPConnection('localhost')\n\
             connection.sock = socket.socket(socket.AF_UNIX)\n\
             try:\n    connection.sock.connect(sys.argv[1])\n\
             except PermissionError:\n    print('kept out'); sys.exit()\n\
             connection.request(sys.argv[2], sys.argv[3], headers={'Content-Type': 'application/json'})\n\
             print(connection.getresponse().status)\n";
        let output = Command::new("python3")
            .args(["-c", program])
            .arg(folder.path().join("magic.sock"))
            .args([method, path])
            .current_dir("/")
            .uid(uid)
            .gid(gid)
            .output()
            .expect("python3 starts");
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        assert!(!said.is_empty(), "{output:?}");
        said
    };
    assert_eq!(ask(NOBODY, NOBODY, "GET", "/api/controllers"), "kept out");
    assert_eq!(ask(NOBODY, GROUP, "GET", "/api/controllers"), "200");
    assert_eq!(ask(NOBODY, GROUP, "GET", "/api/keys"), "403");
    assert_eq!(ask(NOBODY, GROUP, "POST", "/api/execute/Echo"), "403");
    assert_eq!(ask(0, 0, "GET", "/api/keys"), "200");
}
