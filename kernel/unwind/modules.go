package unwind

// ModulesError is the first error that kept modules from being read, nil where there is
// none. What functions of theirs lie on stacks is not known then, and neither is what
// called them.
func (t *Tracer) ModulesError() error {
	if t.modules == nil {
		return nil
	}
	_, err := t.modules.Modules()
	return err
}
