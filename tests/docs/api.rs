//! The page of the web API has the routes of the code, in their order.

use std::{fs, path::Path};

use restante::proto::http::routes::ROUTES;

#[test]
fn the_page_has_the_routes_of_the_code() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/manual/api.md");
    let page = fs::read_to_string(page).unwrap();
    let rows: Vec<&str> = page.lines().filter(|line| line.contains("` | `/")).collect();
    let routes: Vec<String> = ROUTES
        .iter()
        .map(|route| format!("| `{}` | `{}` | {} |", route.method.name(), route.path, route.meaning))
        .collect();
    assert_eq!(rows, routes);
}
