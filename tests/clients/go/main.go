// The stock Go client (grpc-go, generated stubs): calls a server and tells what it saw.
//
//	client ADDRESS NAME
//
// NAME sets the ids of what it sends apart from other runs'.  Prints one JSON object; the test
// that runs it says what is right.
package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	v1 "nextbest/tests/clients/v1"
)

const (
	calls   = 1000
	cancels = 200
	// Every call has a deadline: a server that does not answer fails the test, not its run.
	patience = 20 * time.Second
)

type client struct {
	name      string
	decisions v1.DecisionServiceClient
	events    v1.EventServiceClient
	profiles  v1.ProfileServiceClient
	health    health.HealthClient
}

func outcome(err error) map[string]any {
	told := status.Convert(err)
	return map[string]any{"code": int(told.Code()), "message": told.Message()}
}

func patient() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), patience)
}

func text(value string) *v1.Value {
	return &v1.Value{Kind: &v1.Value_StringValue{StringValue: value}}
}

func question(id string, seed uint64) *v1.DecideRequest {
	return &v1.DecideRequest{
		DecisionId: id,
		Identity:   &v1.Identity{Id: "ann"},
		Placements: []string{"home"},
		Context: map[string]*v1.Value{
			"page": text("home"),
			"hour": {Kind: &v1.Value_IntValue{IntValue: 9}},
		},
		Now:  &timestamppb.Timestamp{Seconds: 1780315200},
		Seed: seed,
	}
}

func (c *client) decide() any {
	ctx, cancel := patient()
	defer cancel()
	response, err := c.decisions.Decide(ctx, question(c.name+"-decide", 7))
	if err != nil {
		return outcome(err)
	}
	encoded, err := proto.Marshal(response)
	if err != nil {
		log.Fatal(err)
	}
	return hex.EncodeToString(encoded)
}

func (c *client) track() any {
	ctx, cancel := patient()
	defer cancel()
	request := &v1.TrackRequest{
		EventId:    c.name + "-event",
		Identity:   &v1.Identity{Id: "ann-" + c.name},
		Event:      "page_view",
		Properties: map[string]*v1.Value{"path": text("/pricing")},
		OccurredAt: timestamppb.Now(),
	}
	seen := []bool{}
	for range 2 {
		response, err := c.events.Track(ctx, request)
		if err != nil {
			return outcome(err)
		}
		seen = append(seen, response.Duplicate)
	}
	return seen
}

func (c *client) batch() any {
	ctx, cancel := patient()
	defer cancel()
	request := &v1.DecideBatchRequest{}
	for i := range 100 {
		request.Requests = append(request.Requests, question("", uint64(i+1)))
	}
	response, err := c.decisions.DecideBatch(ctx, request)
	if err != nil {
		return outcome(err)
	}
	answered := 0
	for _, result := range response.Results {
		if result.GetResponse() != nil {
			answered++
		}
	}
	return answered
}

func (c *client) metadata() any {
	ctx, cancel := patient()
	defer cancel()
	ctx = metadata.AppendToOutgoingContext(ctx, "x-text", "some text",
		"x-twice", "one", "x-twice", "two", "x-bytes-bin", "\x00\xff\x01,")
	_, err := c.decisions.Decide(ctx, question("", 7))
	return outcome(err)
}

func (c *client) deadline() any {
	ctx, cancel := context.WithTimeout(context.Background(), time.Microsecond)
	defer cancel()
	_, err := c.decisions.Decide(ctx, question("", 7))
	return outcome(err)
}

func (c *client) cancelled() any {
	ctx, cancel := patient()
	cancel()
	_, err := c.decisions.Decide(ctx, question("", 7))
	return outcome(err)
}

// cancelledInFlight cancels at other moments of each call and counts the outcomes.
func (c *client) cancelledInFlight() any {
	seen := map[string]int{}
	for i := range cancels {
		ctx, cancel := patient()
		timer := time.AfterFunc(time.Duration(10*i)*time.Microsecond, cancel)
		_, err := c.decisions.Decide(ctx, question("", 7))
		seen[strconv.Itoa(int(status.Code(err)))]++
		timer.Stop()
		cancel()
	}
	return seen
}

func (c *client) refused() any {
	ctx, cancel := patient()
	defer cancel()
	request := question("", 7)
	request.Placements = []string{"nowhere"}
	var trailer metadata.MD
	_, err := c.decisions.Decide(ctx, request, grpc.Trailer(&trailer))
	seen := outcome(err)
	told := status.Convert(err)
	seen["details_code"] = told.Proto().GetCode()
	seen["trailers"] = len(trailer.Get("grpc-status-details-bin"))
	for _, detail := range told.Details() {
		switch found := detail.(type) {
		case *errdetails.ErrorInfo:
			seen["reason"] = found.Reason
		case *errdetails.BadRequest:
			seen["field"] = found.FieldViolations[0].Field
		}
	}
	return seen
}

func (c *client) control() any {
	ctx, cancel := patient()
	defer cancel()
	_, err := c.profiles.GetProfile(ctx, &v1.GetProfileRequest{Identity: &v1.Identity{Id: "ann"}})
	return outcome(err)
}

func (c *client) check(service string) any {
	ctx, cancel := patient()
	defer cancel()
	response, err := c.health.Check(ctx, &health.HealthCheckRequest{Service: service})
	if err != nil {
		return outcome(err)
	}
	return int(response.Status)
}

// concurrent makes all calls at once; each answer must be to its own request.
func (c *client) concurrent() any {
	ctx, cancel := patient()
	defer cancel()
	var right atomic.Int64
	var open sync.WaitGroup
	for i := range calls {
		open.Go(func() {
			response, err := c.decisions.Decide(ctx, question("", uint64(i+1)))
			if err == nil && response.Seed == uint64(i+1) {
				right.Add(1)
			}
		})
	}
	open.Wait()
	return right.Load()
}

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: client ADDRESS NAME")
	}
	credentials := grpc.WithTransportCredentials(insecure.NewCredentials())
	connection, err := grpc.NewClient(os.Args[1], credentials)
	if err != nil {
		log.Fatal(err)
	}
	defer connection.Close()
	c := &client{
		name:      os.Args[2],
		decisions: v1.NewDecisionServiceClient(connection),
		events:    v1.NewEventServiceClient(connection),
		profiles:  v1.NewProfileServiceClient(connection),
		health:    health.NewHealthClient(connection),
	}
	seen := map[string]any{
		"library":             "grpc-go " + grpc.Version,
		"decide":              c.decide(),
		"track":               c.track(),
		"batch":               c.batch(),
		"metadata":            c.metadata(),
		"deadline":            c.deadline(),
		"cancelled":           c.cancelled(),
		"cancelled_in_flight": c.cancelledInFlight(),
		"refused":             c.refused(),
		"control":             c.control(),
		"health":              c.check(""),
		"health_unknown":      c.check("no.such.Service"),
		"concurrent":          c.concurrent(),
	}
	if err := json.NewEncoder(os.Stdout).Encode(seen); err != nil {
		log.Fatal(err)
	}
}
