package main

/*
#include "conf.h"
*/
import "C"

import (
	"encoding/binary"
	"math"

	"melon/core/conf"
)

// engineConfParse is the entry conf_parse of struct engine_table: it parses the file path and gives its tree as the
// blob that conf.h describes, or the sentence that says what is wrong, in memory that the caller frees. Where there is no
// memory for either, it gives NULL.
//
//export engineConfParse
func engineConfParse(path *C.char, blob **C.char, length *C.size_t) C.int {
	tree, err := conf.ParseFile(C.GoString(path))
	var out []byte
	if err == nil {
		out, err = flatten(tree)
	}
	if err != nil {
		*blob = (*C.char)(toC([]byte(err.Error())))
		return -1
	}
	if *blob = (*C.char)(toC(out)); *blob == nil {
		return -1
	}
	*length = C.size_t(len(out))
	return 0
}

// flatten writes the tree as a blob. It refuses what the C API cannot hold, since its reals are floats.
func flatten(tree *conf.Tree) ([]byte, error) {
	blob := appendCount(nil, len(tree.Domains))
	for _, d := range tree.Domains {
		blob = appendCount(appendString(blob, d.Name), len(d.Commands))
		for _, c := range d.Commands {
			blob = appendCount(appendString(blob, c.Name), len(c.Items))
			for _, item := range c.Items {
				switch item.Kind {
				case conf.String:
					blob = appendString(append(blob, C.CONF_BLOB_STR), item.Str)
				case conf.Char:
					blob = append(blob, C.CONF_BLOB_CHAR, item.Char)
				case conf.Bool:
					value := byte(0)
					if item.Bool {
						value = 1
					}
					blob = append(blob, C.CONF_BLOB_BOOL, value)
				case conf.Int:
					blob = binary.NativeEndian.AppendUint64(append(blob, C.CONF_BLOB_INT), uint64(item.Int))
				case conf.Real:
					if math.Abs(item.Real) > math.MaxFloat32 {
						return nil, &conf.SyntaxError{File: item.Pos.File, Line: item.Pos.Line, Column: item.Pos.Column,
							Msg: "expected a real number that fits in a float, found one out of range"}
					}
					blob = binary.NativeEndian.AppendUint64(append(blob, C.CONF_BLOB_REAL), math.Float64bits(item.Real))
				}
			}
		}
	}
	return blob, nil
}

func appendCount(blob []byte, n int) []byte {
	return binary.NativeEndian.AppendUint32(blob, uint32(n))
}

func appendString(blob []byte, s string) []byte {
	return append(appendCount(blob, len(s)), s...)
}
