# frozen_string_literal: true

require "open3"

# The checks of axe-core for a page, in each look.
module Accessibility
  LOOKS = { "light" => ["light", 800], "dark" => ["dark", 800], "mobile" => ["light", 375] }.freeze
  # Prints the path of the script.
  PYTHON = "from importlib import resources; print(resources.files('axe_playwright_python') / 'axe.min.js')"
  RUN = <<~JS
    const done = arguments[0]
    axe.run({ resultTypes: ["violations"] }).then(({ violations }) =>
      done(violations.flatMap(({ id, nodes }) => nodes.map((node) => `${id}: ${node.html} ${node.failureSummary}`))))
  JS

  # @return [String] the script
  def self.axe
    @axe ||= File.read(Open3.capture2(ENV.fetch("TRANSFER_PYTHON"), "-c", PYTHON).first.chomp)
  end

  # @return [Array<String>] violations, and whether the page scrolls sideways
  def violations(browser, url)
    browser.navigate.to(url)
    browser.execute_script(Accessibility.axe)
    LOOKS.flat_map do |look, (scheme, width)|
      browser.execute_cdp("Emulation.setEmulatedMedia", features: [{ name: "prefers-color-scheme", value: scheme }])
      size = { width:, height: 800, deviceScaleFactor: 1, mobile: false }
      browser.execute_cdp("Emulation.setDeviceMetricsOverride", **size)
      wide = browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
      found = browser.execute_async_script(RUN) + (wide ? ["scrolls sideways"] : [])
      found.map { |problem| "#{url} #{look}: #{problem}" }
    end
  end
end
