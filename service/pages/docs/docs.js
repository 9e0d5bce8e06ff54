SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#operations",
  deepLinking: true,
  validatorUrl: null, // a service on the net, which would be sent the description's address
});
