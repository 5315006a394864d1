package core

import (
	"bytes"
	"context"
	"encoding"
	"encoding/gob"
	"encoding/json"
	"fmt"
	"reflect"
)

// A Codec makes bytes of values and values of bytes. It is used by several goroutines at the same time: Marshal on the one
// that sends, Unmarshal on the one that called Run, or for requests on that of their handler.
type Codec interface {
	// Marshal returns the bytes of a value.
	Marshal(v any) ([]byte, error)
	// Unmarshal sets the value that v points to, which is a zero value of the message's type. It must not keep data.
	Unmarshal(data []byte, v any) error
}

// Codecs of the standard library.
var (
	// JSON is encoding/json.
	JSON Codec = jsonCodec{}
	// Gob is encoding/gob. Each message stands for itself, and describes its type anew. That package is not hardened against
	// hostile input, as its documentation says: a few bytes can make Unmarshal take much memory and time. Use another codec where
	// a process is not to be trusted.
	Gob Codec = gobCodec{}
	// Binary is for types that implement encoding.BinaryMarshaler and encoding.BinaryUnmarshaler, themselves or by a pointer.
	Binary Codec = binaryCodec{}
)

// A Message is a type of messages whose payload is a value of type T. Programs declare one for each type, for example as a
// variable of the package, and use it alike in master and workers:
//
//	var progress = core.Message[Progress]{Type: 3}
//
// Two declarations must not have the same number.
type Message[T any] struct {
	// Type is the number of the type, as in Group.Handle.
	Type uint32
	// Codec makes the payload. Nil means JSON.
	Codec Codec
}

// HandleMaster sets what the master does with a message from a worker. It is called before Run, like Group.Handle. A payload
// that cannot be decoded is counted in Stats.Unhandled, logged (of many from one process ever fewer), and dropped.
func (m Message[T]) HandleMaster(g *Group, handler func(from *Worker, v T)) {
	g.amend(m.Type, func(h *Handlers) {
		h.Master = func(from *Worker, payload []byte) {
			if v, ok := m.decode(from, payload); ok {
				handler(from, v)
			}
		}
	})
}

// HandleWorker sets what a worker does with a message from the master. It is called before Run, like Group.Handle. A payload
// that cannot be decoded is counted in Stats.Unhandled, logged (of many from one process ever fewer), and dropped.
func (m Message[T]) HandleWorker(g *Group, handler func(from *Master, v T)) {
	g.amend(m.Type, func(h *Handlers) {
		h.Worker = func(from *Master, payload []byte) {
			if v, ok := m.decode(from, payload); ok {
				handler(from, v)
			}
		}
	})
}

// Send sends a value, as Worker.Send does. An error of the codec is returned as it is, wrapped.
func (m Message[T]) Send(to Peer, v T) error {
	payload, err := encode(m.Codec, m.Type, v)
	if err != nil {
		return err
	}
	return to.Send(m.Type, payload)
}

// SendContext sends a value, and waits while the queue is full, as Worker.SendContext does.
func (m Message[T]) SendContext(ctx context.Context, to Peer, v T) error {
	payload, err := encode(m.Codec, m.Type, v)
	if err != nil {
		return err
	}
	return to.SendContext(ctx, m.Type, payload)
}

// Broadcast sends a value to every worker, as Group.Broadcast does. It is encoded once.
func (m Message[T]) Broadcast(g *Group, v T) error {
	payload, err := encode(m.Codec, m.Type, v)
	if err != nil {
		return err
	}
	return g.Broadcast(m.Type, payload)
}

func (m Message[T]) decode(from Peer, payload []byte) (v T, ok bool) {
	if err := decode(m.Codec, m.Type, payload, &v); err != nil {
		from.link().drop("core: a message cannot be decoded, and is dropped", "from", from.PID(), "error", err)
		return v, false
	}
	return v, true
}

func encode(c Codec, msgType uint32, v any) ([]byte, error) {
	if c == nil {
		c = JSON
	}
	payload, err := c.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("core: cannot encode a message of type %d: %w", msgType, err)
	}
	return payload, nil
}

func decode(c Codec, msgType uint32, payload []byte, v any) error {
	if c == nil {
		c = JSON
	}
	if err := c.Unmarshal(payload, v); err != nil {
		return fmt.Errorf("core: cannot decode a message of type %d: %w", msgType, err)
	}
	return nil
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error)      { return json.Marshal(v) }
func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

type gobCodec struct{}

func (gobCodec) Marshal(v any) ([]byte, error) {
	var out bytes.Buffer
	err := gob.NewEncoder(&out).Encode(v)
	return out.Bytes(), err
}

func (gobCodec) Unmarshal(data []byte, v any) error {
	return gob.NewDecoder(bytes.NewReader(data)).Decode(v)
}

type binaryCodec struct{}

func (binaryCodec) Marshal(v any) ([]byte, error) {
	m, ok := v.(encoding.BinaryMarshaler)
	if !ok && v != nil { // the method may be one of the pointer
		pointer := reflect.New(reflect.TypeOf(v))
		pointer.Elem().Set(reflect.ValueOf(v))
		m, ok = pointer.Interface().(encoding.BinaryMarshaler)
	}
	if !ok {
		return nil, fmt.Errorf("%T is no encoding.BinaryMarshaler", v)
	}
	return m.MarshalBinary()
}

func (binaryCodec) Unmarshal(data []byte, v any) error {
	u, ok := v.(encoding.BinaryUnmarshaler)
	if to := reflect.ValueOf(v).Elem(); !ok && to.Kind() == reflect.Pointer { // the type is a pointer itself
		to.Set(reflect.New(to.Type().Elem()))
		u, ok = to.Interface().(encoding.BinaryUnmarshaler)
	}
	if !ok {
		return fmt.Errorf("%T is no encoding.BinaryUnmarshaler", v)
	}
	return u.UnmarshalBinary(data)
}
