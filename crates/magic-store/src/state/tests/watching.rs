//! A change on one node is seen by another.

use std::time::Duration;

use super::keys::new_key;
use super::on_both;

#[tokio::test]
async fn a_change_is_heard_on_every_node() {
    on_both(|world| async move {
        let (one, other) = (world.open().await, world.open().await);
        let (mut here, mut there) = (one.watch(), other.watch());
        one.api_keys().create(new_key("heard")).await.unwrap();
        for receiver in [&mut here, &mut there] {
            let heard = tokio::time::timeout(Duration::from_secs(5), receiver.changed()).await;
            heard.unwrap().unwrap();
            assert_eq!(receiver.borrow_and_update().keys, 1);
            assert_eq!(receiver.borrow().generation, 0);
        }
    })
    .await;
}
