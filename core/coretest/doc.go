// Package coretest runs a [melon/core.Group] in a test without starting a process: the master and each worker are
// goroutines of the test, and what they have between them is real, such as the socket pairs and the frames on them.
//
// The function that describes the group, which a program calls in main before Run, is called once for the master and once
// for each worker, with a group of its own, as it is in processes:
//
//	test := coretest.Run(t, describe)
//	test.Await(core.Ready)
//	reply, err := resolve.Do(ctx, test.Worker(0), "a.example")
//
// # What differs from processes
//
// The memory is shared, so that what handlers of different processes change at the same time is a data race here. The function
// core.IsWorker reports false, where [core.Group.IsWorker] reports the truth. Payload, Listen, ListenPacket and File work as
// usual; Args and standard descriptors are those of the test. Programs of other files are not started, and so a
// group that has some fails. Process IDs are numbers that no process has.
//
// A goroutine cannot be killed. A worker that crashes, or is sent a signal, is cut off from its master, which sees its process
// end. What its goroutines are doing goes on until they notice; nothing that they send arrives. A panic in a worker
// ends the test binary.
package coretest
