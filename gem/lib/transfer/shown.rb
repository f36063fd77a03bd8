# frozen_string_literal: true

module Transfer
  # Results with a picture and HTML: files, and display in notebooks. `overlay` is a PNG or nil, `to_html` a fragment.
  module Shown
    # A page without scripts and requests.
    PAGE = <<~HTML
      <!doctype html>
      <html lang="en">
      <meta charset="utf-8">
      <meta http-equiv="Content-Security-Policy"
        content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
      <title>%<title>s</title>
      <main>
      %<body>s
      </main>
      </html>
    HTML
    private_constant :PAGE

    # Writes the picture (`….png`), a page (`….html`), or the data (`….json`). A link is replaced, not followed.
    # @param file [String, Pathname]
    # @return [Pathname] the file
    # @raise [ConfigurationError] if the name has another ending, or the file can't be written
    def save(file)
      file = Pathname.new(file)
      content = case file.extname.downcase
                when ".json" then to_json
                when ".html" then format(PAGE, title: self.class.name.split("::").last, body: to_html)
                when ".png" then overlay
                end
      unless content
        raise ConfigurationError, "#{file}: expected a name that ends with #{'.png, ' if overlay}.html or .json"
      end

      Replacement.write(file.to_s, content)
      file
    end

    # @return [Array(String, String)] MIME type and content, for IRuby
    def to_iruby = ["text/html", to_html]
  end
  private_constant :Shown
end
