module github.com/kata-containers/kata-qualify/packaging/go

go 1.19
