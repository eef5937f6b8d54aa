"""What a student's runs left behind, handed in beside the code: results folders, images, and the rows about them."""
