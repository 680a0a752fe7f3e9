module pillion.dev/e2e/gotools/pause

go 1.24.0
