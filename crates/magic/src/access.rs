//! Who is let in, as the settings say: the authenticator of a server, and the first key of one that has none.

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use magic_api::{Authentication, Authenticator, IssuerKeys, StoredKeys, TokenVerifier};
use magic_contract::Environment;
use magic_store::state::{NewKey, State};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::key_set_source;
use crate::output::Output;
use crate::settings::Settings;
use crate::signals::LookAgain;

/// How often an issuer's keys are fetched again.
const KEY_SET_INTERVAL: Duration = Duration::from_secs(300);

/// The file of the first key, in the data folder.
const FIRST_KEY: &str = "admin.key";

/// What a server that asks for credentials takes. Without any, a first key is made, once.
///
/// # Errors
/// When a source of credentials cannot be used; the message says which, and what to type.
pub(crate) async fn open(
    settings: &Settings,
    state: &State,
    output: Output,
    look_again: &LookAgain,
) -> anyhow::Result<Authentication> {
    let auth = &settings.auth;
    let mut authenticator = Authenticator::new();
    let tokens = tokens(settings, output, look_again).await?;
    if tokens.is_none() && auth.administrator.is_none() {
        make_first_key(settings, state, output).await?;
    }
    let keys = StoredKeys::follow(state, auth.key_staleness)
        .await
        .context("the API keys cannot be read")?;
    authenticator = authenticator.with_keys(keys);
    if let Some(key) = &auth.administrator {
        authenticator = authenticator.with_administrator(key.expose());
    }
    if let Some(tokens) = tokens {
        authenticator = authenticator.with_tokens(tokens);
    }
    Ok(Authentication::Required(Arc::new(authenticator)))
}

/// The verifier of tokens, if any are taken.
async fn tokens(
    settings: &Settings,
    output: Output,
    look_again: &LookAgain,
) -> anyhow::Result<Option<TokenVerifier>> {
    let auth = &settings.auth;
    if auth.token_secret.is_none() && auth.key_set.is_none() {
        return Ok(None);
    }
    let issuer_keys = match &auth.key_set {
        None => None,
        Some(place) => {
            if auth.token_rules.audience.is_none() {
                let said = "an issuer's keys are trusted (MAGIC_JWKS) and no audience is asked for, so its tokens for anybody else open this server too; set MAGIC_JWT_AUDIENCE";
                if settings.environment == Environment::Production {
                    anyhow::bail!("refusing to start: {said}");
                }
                output.talk(&format!("WARNING: {said}"));
            }
            let source = key_set_source::of(place, settings)?;
            let keys = IssuerKeys::open(source)
                .await
                .context("MAGIC_JWKS cannot be used")?;
            let asked = Arc::clone(&look_again.issuer_keys);
            tokio::spawn(keys.clone().follow(KEY_SET_INTERVAL, asked));
            Some(keys)
        }
    };
    Ok(Some(TokenVerifier::new(
        auth.token_secret.as_ref().map(|secret| secret.expose()),
        issuer_keys,
        auth.token_rules.clone(),
    )))
}

/// Makes an administrator's key when nothing else could open this server over TCP, and says where it is. The file comes first: a key
/// that is stored and written nowhere would keep later starts from making one.
async fn make_first_key(settings: &Settings, state: &State, output: Output) -> anyhow::Result<()> {
    let keys = state.api_keys();
    if !keys.live_keys().await?.is_empty() {
        return Ok(());
    }
    let path = settings.data_dir.join(FIRST_KEY);
    let Some(mut file) = create(&path)? else {
        output.talk(&format!(
            "WARNING: no API key opens this server: the one in {} was revoked, or is of another store; \
             remove the file and start again, or type: magic keys create NAME --role admin",
            path.display()
        ));
        return Ok(());
    };
    let new = NewKey {
        name: "first key of the server".to_owned(),
        roles: vec!["admin".to_owned()],
        controllers: None,
        expires_at: None,
        rate: None,
        created_by: "magic serve".to_owned(),
    };
    let (text, _) = keys.create(new).await.context("cannot make a first key")?;
    file.write_all(format!("{}\n", *text.expose()).as_bytes())
        .and_then(|()| file.sync_all())
        .with_context(|| format!("cannot write {}", path.display()))?;
    output.talk(&format!(
        "made a first API key with the role admin: it is in {}",
        path.display()
    ));
    Ok(())
}

/// A new file that only we can read, never through a link; `None` if there is one with something in it. An empty one is what a start
/// that was cut short has left.
fn create(path: &Path) -> anyhow::Result<Option<File>> {
    let failed = || format!("cannot make {}", path.display());
    if std::fs::symlink_metadata(path).is_ok_and(|found| found.is_file() && found.size() == 0) {
        std::fs::remove_file(path).with_context(failed)?;
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::RUSR | Mode::WUSR) {
        Ok(descriptor) => Ok(Some(descriptor.into())),
        Err(Errno::EXIST) => Ok(None),
        Err(errno) => Err(errno).with_context(failed),
    }
}
