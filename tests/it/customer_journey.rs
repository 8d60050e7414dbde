//! The story of `docs/customer-journey.md`, line by line: one customer on the device, on the phone and in the store.

use crate::pasted;

#[test]
fn every_line_of_the_customers_journey_works() {
    if !pasted::are_there(&["bash", "curl", "openssl", "mosquitto_pub", "mosquitto_sub", "mosquitto_rr"]) {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    pasted::run_and_compare("docs/customer-journey.md", folder.path());
}
