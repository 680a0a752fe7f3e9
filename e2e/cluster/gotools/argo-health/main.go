// Command argo-health runs a health script as Argo CD does: the same Lua interpreter, the same few
// libraries, one second of time, the object as the global `obj`. It reads JSON objects from standard
// input and writes the table that the script returns for each as one line of JSON.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"slices"
	"time"

	lua "github.com/yuin/gopher-lua"
)

// limit is how long Argo CD lets a script run.
const limit = time.Second

// codes are the states that Argo CD knows; anything else is an error there.
var codes = []string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}

// health is what a script returns.
type health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 2 {
		log.Fatal("usage: argo-health SCRIPT.lua < OBJECTS.json")
	}
	script, err := os.ReadFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	input, output := json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout)
	for {
		var object map[string]any
		if err := input.Decode(&object); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			log.Fatalf("standard input is not a sequence of JSON objects: %v", err)
		}
		found, err := judge(string(script), object)
		if err != nil {
			log.Fatalf("%s: %v", os.Args[1], err)
		}
		if err := output.Encode(found); err != nil {
			log.Fatal(err)
		}
	}
}

// judge runs the script on one object. Neither `string` nor `math` is there, as in Argo CD.
func judge(script string, object map[string]any) (health, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer state.Close()
	for _, library := range []struct {
		name string
		open lua.LGFunction
	}{{lua.LoadLibName, lua.OpenPackage}, {lua.BaseLibName, lua.OpenBase}, {lua.TabLibName, lua.OpenTable}} {
		parameters := lua.P{Fn: state.NewFunction(library.open), NRet: 0, Protect: true}
		if err := state.CallByParam(parameters, lua.LString(library.name)); err != nil {
			return health{}, err
		}
	}
	timed, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	state.SetContext(timed)
	state.SetGlobal("obj", luaValue(state, object))
	if err := state.DoString(script); err != nil {
		return health{}, err
	}
	table, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return health{}, fmt.Errorf("the script returned a %s and not a table", state.Get(-1).Type())
	}
	found := health{text(table, "status"), text(table, "message")}
	if !slices.Contains(codes, found.Status) {
		return health{}, fmt.Errorf("%q is no health status of Argo CD", found.Status)
	}
	return found, nil
}

func text(table *lua.LTable, key string) string {
	value, _ := table.RawGetString(key).(lua.LString)
	return string(value)
}

// luaValue turns decoded JSON into what a script sees; null becomes nil.
func luaValue(state *lua.LState, value any) lua.LValue {
	switch typed := value.(type) {
	case bool:
		return lua.LBool(typed)
	case float64:
		return lua.LNumber(typed)
	case string:
		return lua.LString(typed)
	case []any:
		table := state.CreateTable(len(typed), 0)
		for _, inner := range typed {
			table.Append(luaValue(state, inner))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(typed))
		for key, inner := range typed {
			table.RawSetString(key, luaValue(state, inner))
		}
		return table
	}
	return lua.LNil
}
