package ports

import (
	"net/http"

	"bankforge/app"
	"bankforge/app/bank"
	"bankforge/ports/body"
	"bankforge/ports/cursor"
	"bankforge/ports/render"
)

type customerBody struct {
	Name       body.Name                 `json:"name"`
	Email      body.Opt[body.Email]      `json:"email,omitzero"`
	Phone      body.Opt[body.Phone]      `json:"phone,omitzero"`
	Locale     body.Opt[body.Locale]     `json:"locale,omitzero"`
	ExternalID body.Opt[body.ExternalID] `json:"external_id,omitzero"`
}

// Customer is what the bank knows of a person.
type Customer struct {
	ID         string  `json:"id" example:"cus_06h09h3q657ss5pr9u4kq9irho"`
	Name       string  `json:"name" example:"Ada Example"`
	Email      *string `json:"email" example:"ada@example.org"`
	Phone      *string `json:"phone" example:"+49 30 1234567"`
	Locale     *string `json:"locale" example:"de-DE"`
	ExternalID *string `json:"external_id" example:"crm-4711"`
	Version    uint64  `json:"version" minimum:"1" example:"1"`
	CreatedAt  string  `json:"created_at" format:"date-time"`
	UpdatedAt  string  `json:"updated_at" format:"date-time"`
}

func customerShown(c *app.Customer) Customer {
	return Customer{
		ID: c.ID.String(), Name: c.Name, Email: render.Maybe(c.Email), Phone: render.Maybe(c.Phone),
		Locale: render.Maybe(c.Locale), ExternalID: render.Maybe(c.ExternalID), Version: uint64(c.Version),
		CreatedAt: render.Time(c.CreatedAt), UpdatedAt: render.Time(c.UpdatedAt),
	}
}

func createCustomer(q *request, call app.Call, in *customerBody) (response, error) {
	done, err := q.App.CreateCustomer(q.ctx(), call, app.CustomerDetails{
		Name: string(in.Name), Email: string(in.Email.Value), Phone: string(in.Phone.Value),
		Locale: string(in.Locale.Value), ExternalID: string(in.ExternalID.Value),
	})
	if err != nil {
		return response{done: &done.Done}, err
	}
	c := &done.Customer
	return response{
		status: http.StatusCreated, body: customerShown(c), version: c.Version, location: "/v1/customers/" + c.ID.String(),
		done: &done.Done,
	}, nil
}

func getCustomer(q *request) (response, error) {
	id, err := pathID(q, bank.ParseID[bank.Customer])
	if err != nil {
		return response{}, err
	}
	if params := q.query(); params.err != nil {
		return response{}, params.err
	}
	c, err := q.App.Customer(q.ctx(), q.principal, id)
	if err != nil {
		return response{}, err
	}
	return response{status: http.StatusOK, body: customerShown(&c), version: c.Version, tags: true}, nil
}

func listCustomers(q *request) (response, error) {
	params := q.query()
	page := q.page(params)
	f := app.CustomerFilter{
		Page: page.Page, ExternalID: params.text("external_id"), Email: params.text("email"), Phone: params.text("phone"),
	}
	if params.err != nil {
		return response{}, params.err
	}
	f.Limit++ // one more tells whether there is a next page
	found, err := q.App.Customers(q.ctx(), q.principal, f)
	if err != nil {
		return response{}, err
	}
	out := listOf(page, found, customerShown, func(c *app.Customer) cursor.Place {
		return cursor.Place{Time: c.CreatedAt, ID: c.ID.String()}
	})
	return response{status: http.StatusOK, body: out}, nil
}
