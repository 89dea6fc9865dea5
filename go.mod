module github.com/kmortem/mortem

go 1.26
