package ports
import ("os";"testing")
func TestGen(t *testing.T){ b,err:=OpenAPIYAML(""); fatal(t,err); fatal(t,os.WriteFile("../api/openapi.yaml",b,0o644)) }
