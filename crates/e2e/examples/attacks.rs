//! Tells every attack to every level and prints what came.

use nesa_e2e::attacks::{World, all};

fn main() -> Result<(), nesa_e2e::Error> {
    let world = World::new()?;
    let only = std::env::args().nth(1).unwrap_or_default();
    for attack in all() {
        if !attack.group.contains(&only) {
            continue;
        }
        match attack.run(&world) {
            Ok(row) => {
                let cells: Vec<String> = row
                    .cells
                    .iter()
                    .map(|c| match &c.judged {
                        None => "n/a".into(),
                        Some(j) => j.refusal.clone().unwrap_or("ACCEPTED".into()),
                    })
                    .collect();
                println!("{} | {} | {}", row.group, row.name, cells.join(" | "));
            }
            Err(e) => println!("{} | {} | ERROR {e}", attack.group, attack.name),
        }
    }
    Ok(())
}
