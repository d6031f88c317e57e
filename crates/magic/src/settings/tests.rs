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
            listen: ([127, 0, 0, 1], 8080).into(),
            socket: "/home/ada/.local/share/magic/magic.sock".into(),
            python: None,
            policy: None,
            controllers: "controllers".into(),
            url: None,
            environment: Environment::Development,
            log_filter: "warn".to_owned(),
            http: HttpSettings::default(),
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
