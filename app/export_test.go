package app

// Canonical is what bodies of acts become.
func Canonical(object []byte) ([]byte, error) { return canonical(object) }
