package conf_test

import (
	"errors"
	"fmt"

	"melon/core/conf"
)

func ExampleParse() {
	tree, err := conf.Parse("app.conf", []byte(`
		#define WORKERS 4
		worker_proc #WORKERS;
		limits { rate -2.5; mode 'r' on 10 "ten"; }
	`), conf.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(tree.Domain(conf.MainDomain).Command("worker_proc").Items[0].Int)
	for _, item := range tree.Domain("limits").Command("mode").Items {
		fmt.Println(item)
	}
	// Output:
	// 4
	// 'r'
	// on
	// 10
	// "ten"
}

func ExampleSyntaxError() {
	_, err := conf.Parse("app.conf", []byte("worker_proc 4\nlog_path \"x\";"), conf.Options{})
	var syntax *conf.SyntaxError
	if errors.As(err, &syntax) {
		fmt.Println(syntax.Line, syntax.Column)
		fmt.Println(err)
	}
	// Output:
	// 2 1
	// app.conf:2:1: expected an item or ; to end command worker_proc, begun at app.conf:1:1, found "log_path"
}
