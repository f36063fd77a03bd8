# frozen_string_literal: true

require "open3"

# axe-core, an accessibility checker, of the package axe-playwright-python, which `bin/setup --dev` installs.
module Axe
  PATH = "from importlib import resources; print(resources.files('axe_playwright_python') / 'axe.min.js')"
  RUN = <<~JS
    const done = arguments[0]
    axe.run({ resultTypes: ["violations"] }).then(({ violations }) =>
      done(violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`))))
  JS
  private_constant :PATH, :RUN

  class << self
    # @param browser [Selenium::WebDriver::Driver] with an open page
    # @return [Array<String>] violations of WCAG and of best practices
    def violations(browser)
      browser.execute_script(script)
      browser.execute_async_script(RUN)
    end

    private

    def script = @script ||= File.read(Open3.capture2(ENV.fetch("TRANSFER_PYTHON"), "-c", PATH).first.chomp)
  end
end
