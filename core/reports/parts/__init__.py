"""What a state of a report is made of: contents that merge by addition, exactly and in any order, and have one form
as bytes."""
