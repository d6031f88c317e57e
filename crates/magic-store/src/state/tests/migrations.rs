//! Tables are made once, by whoever is first, and never by an older program.

use super::{World, on_both};
use crate::state::{OpenError, State, StateOptions};

#[tokio::test]
async fn many_nodes_start_at_once() {
    on_both(|world| async move {
        let open = || State::open(StateOptions::new(world.url()));
        let started = tokio::join!(open(), open(), open(), open(), open(), open());
        let started = [
            started.0, started.1, started.2, started.3, started.4, started.5,
        ];
        for state in started {
            assert_eq!(state.unwrap().revision().await.unwrap().generation, 0);
        }
    })
    .await;
}

#[tokio::test]
async fn what_a_later_program_made_is_refused() {
    on_both(|world| async move {
        world.open().await.close().await;
        world.tamper("INSERT INTO migrations (number, name, sha256, applied_at) SELECT 99, 'later', 'x', applied_at FROM migrations").await;
        let refused = State::open(StateOptions::new(world.url())).await.unwrap_err();
        assert!(matches!(refused, OpenError::Later { found: 99, .. }), "{refused:?}");
        assert!(refused.to_string().contains("later program"));
        world.tamper("DELETE FROM migrations WHERE number = 99").await;
        world.open().await.close().await;
        world.tamper("UPDATE migrations SET sha256 = 'other'").await;
        let refused = State::open(StateOptions::new(world.url())).await.unwrap_err();
        assert!(matches!(refused, OpenError::Changed { number: 1 }), "{refused:?}");
    })
    .await;
}

/// The state does not move in with somebody else's tables.
#[tokio::test]
async fn a_file_with_other_tables_is_refused() {
    let world = World::sqlite();
    std::fs::write(world.url().file().unwrap(), "").unwrap();
    world.tamper("CREATE TABLE customers (id INTEGER)").await;
    let refused = State::open(StateOptions::new(world.url()))
        .await
        .unwrap_err();
    assert!(
        matches!(&refused, OpenError::Foreign { table } if table == "customers"),
        "{refused:?}"
    );
}
