//! Which source wins, and what each default is.

use super::*;

fn merged(
    flags: &GlobalArguments,
    variables: &[(&str, &str)],
    as_root: bool,
) -> anyhow::Result<Settings> {
    let lookup = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    Settings::merge(flags, &lookup, as_root)
}

/// With nothing set: loopback, development, files under the home folder.
#[test]
fn defaults() {
    let settings = merged(&GlobalArguments::default(), &[("HOME", "/home/ada")], false)
        .expect("defaults are valid");
    assert_eq!(
        settings,
        Settings {
            data_dir: "/home/ada/.local/share/magic".into(),
            node: "node".to_owned(),
            listen: ([127, 0, 0, 1], 8080).into(),
            socket: "/home/ada/.local/share/magic/magic.sock".into(),
            python: None,
            wheels: None,
            policy: None,
            controllers: "controllers".into(),
            url: None,
            database_url: DatabaseUrl::sqlite("/home/ada/.local/share/magic/controllers.db"),
            store_url: DatabaseUrl::sqlite("/home/ada/.local/share/magic/state.db"),
            database_raw_role: None,
            redis_url: None,
            api_key: None,
            auth: AuthSettings::read(&|_| None, AuthTable::default(), Environment::Development)
                .expect("defaults are valid"),
            egress_ca: None,
            environment: Environment::Development,
            log_filter: "warn".to_owned(),
            http: HttpSettings::default(),
            retention: RetentionSettings::default(),
            traces: None,
            secrets: SecretsSettings {
                directories: vec!["/run/secrets".into()],
                key: None,
            },
        }
    );
}

/// The socket's usual place depends on who runs where.
#[test]
fn the_socket_goes_where_sockets_go() {
    let flags = GlobalArguments::default();
    let session = [("HOME", "/home/ada"), ("XDG_RUNTIME_DIR", "/run/user/1000")];
    let service = [("HOME", "/home/ada"), ("ENVIRONMENT", "prod")];
    for (variables, as_root, socket) in [
        (&session[..], false, "/run/user/1000/magic/magic.sock"),
        (&session[..1], true, "/run/magic/magic.sock"),
        (&service[..], false, "/run/magic/magic.sock"),
    ] {
        let settings = merged(&flags, variables, as_root).expect("valid");
        assert_eq!(settings.socket, Path::new(socket));
    }
}

/// Flags beat variables, variables beat the file, and empty variables say nothing.
#[test]
fn flags_beat_variables_beat_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    std::fs::write(
        &file,
        "data_dir = 'from-file'\nsocket = '/from/file.sock'\npolicy = 'p.yaml'\nlisten = 'localhost:1'\n",
    )
    .expect("a file");
    let flags = GlobalArguments {
        config: Some(file),
        data_dir: Some("/from/flag".into()),
        ..GlobalArguments::default()
    };
    let variables = [
        ("MAGIC_DATA_DIR", "/from/variable"),
        ("MAGIC_SOCKET", "/from/variable.sock"),
        ("MAGIC_LISTEN", ""),
    ];
    let settings = merged(&flags, &variables, false).expect("valid");
    assert_eq!(settings.data_dir, Path::new("/from/flag"));
    assert_eq!(settings.socket, Path::new("/from/variable.sock"));
    assert_eq!(settings.listen, ([127, 0, 0, 1], 1).into());
    assert_eq!(settings.policy, Some(folder.path().join("p.yaml")));
}

/// Mistakes name the source and what is accepted.
#[test]
fn mistakes_are_named() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    std::fs::write(&file, "data_dri = '/x'\n").expect("a file");
    let with_file = GlobalArguments {
        config: Some(file),
        ..GlobalArguments::default()
    };
    let home = ("HOME", "/home/ada");
    for (flags, variables, expected) in [
        (&with_file, &[home][..], "data_dri"),
        (
            &GlobalArguments::default(),
            &[home, ("ENVIRONMENT", "staging")],
            "write dev or prod",
        ),
        (
            &GlobalArguments::default(),
            &[home, ("MAGIC_LISTEN", "8080")],
            "127.0.0.1:8080",
        ),
        (&GlobalArguments::default(), &[], "--data-dir"),
    ] {
        let error = merged(flags, variables, false).expect_err(expected);
        assert!(format!("{error:#}").contains(expected), "{error:#}");
    }
}

/// Directories of secrets: the operator's own, that of systemd, that of Docker. The key is shown
/// nowhere.
#[test]
fn secrets_have_their_places() {
    let flags = GlobalArguments::default();
    let variables = [
        ("HOME", "/home/ada"),
        ("MAGIC_SECRETS_DIR", "/etc/magic/secrets"),
        ("CREDENTIALS_DIRECTORY", "/run/credentials/magic.service"),
        ("MAGIC_SECRETS_KEY", "the key"),
    ];
    let settings = merged(&flags, &variables, false).expect("valid");
    assert_eq!(
        settings.secrets.directories,
        [
            Path::new("/etc/magic/secrets"),
            Path::new("/run/credentials/magic.service"),
            Path::new("/run/secrets"),
        ]
    );
    assert!(!format!("{settings:?}").contains("the key"));
    let options = settings.secrets_options();
    assert!(!format!("{options:?}").contains("the key"));
    let store = options.store.expect("a store");
    assert_eq!(store.file, settings.data_dir.join("secrets.enc"));
    assert_eq!(store.key.expect("a key").expose(), "the key");
}

/// Where the database is; a path in the file is relative to the file.
#[test]
fn the_database_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    let flags = GlobalArguments {
        config: Some(file.clone()),
        ..GlobalArguments::default()
    };
    let home = ("HOME", "/home/ada");
    std::fs::write(&file, "database_url = 'sqlite://shop.db'\n").expect("a file");
    let settings = merged(&flags, &[home], false).expect("valid");
    assert_eq!(
        settings.database_url,
        DatabaseUrl::sqlite(folder.path().join("shop.db"))
    );
    let variable = ("DATABASE_URL", "postgres://ada:s3cret@localhost/shop");
    let settings = merged(&flags, &[home, variable], false).expect("valid");
    assert!(!format!("{settings:?}").contains("s3cret"));
    assert!(format!("{settings:?}").contains("postgres://ada@localhost/shop"));
}

/// Where the runtime's own state is, by the same rules.
#[test]
fn the_store_is_found() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    let flags = GlobalArguments {
        config: Some(file.clone()),
        ..GlobalArguments::default()
    };
    let home = ("HOME", "/home/ada");
    std::fs::write(&file, "store_url = 'sqlite://runtime.db'\n").expect("a file");
    let settings = merged(&flags, &[home], false).expect("valid");
    assert_eq!(
        settings.store_url,
        DatabaseUrl::sqlite(folder.path().join("runtime.db"))
    );
    let same = [
        home,
        ("DATABASE_URL", "sqlite:///a.db"),
        ("MAGIC_STORE_URL", "sqlite:/a.db"),
    ];
    let error = merged(&flags, &same, false).expect_err("one file for both");
    assert!(error.to_string().contains("name two"), "{error:#}");
    let variable = ("MAGIC_STORE_URL", "postgres://ada:s3cret@localhost/state");
    let settings = merged(&flags, &[home, variable], false).expect("valid");
    let shown = format!("{settings:?}");
    assert!(!shown.contains("s3cret"));
    assert!(shown.contains("postgres://ada@localhost/state"));
}

/// No mistake shows a password.
#[test]
fn mistakes_with_the_database_show_no_password() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("settings.toml");
    let flags = GlobalArguments {
        config: Some(file.clone()),
        ..GlobalArguments::default()
    };
    let home = ("HOME", "/home/ada");
    for (text, variables, expected) in [
        (
            "database_url = 'mysql://a:s3cret@h/d'",
            &[home][..],
            "settings.toml",
        ),
        (
            "databse_url = 'postgres://a:s3cret@h/d'",
            &[home],
            "settings.toml:1: ",
        ),
        (
            "\ndatabase_url = 'postgres://a:s3cret@h/d",
            &[home],
            "settings.toml:2: ",
        ),
        (
            "",
            &[home, ("DATABASE_URL", "a:s3cret@h/d")],
            "DATABASE_URL",
        ),
        (
            "store_url = 'mysql://a:s3cret@h/d'",
            &[home],
            "store_url of ",
        ),
        (
            "",
            &[home, ("MAGIC_STORE_URL", "a:s3cret@h/d")],
            "MAGIC_STORE_URL",
        ),
    ] {
        std::fs::write(&file, text).expect("a file");
        let error = merged(&flags, variables, false).expect_err(expected);
        let shown = format!("{error:#} {error:?}");
        assert!(shown.contains(expected), "{shown}");
        assert!(!shown.contains("s3cret"), "{shown}");
    }
}
