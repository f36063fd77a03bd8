# frozen_string_literal: true

require_relative "../support/axe"

# The checks of axe-core for a page, in each look.
module Accessibility
  LOOKS = { "light" => ["light", 800], "dark" => ["dark", 800], "mobile" => ["light", 375] }.freeze

  # @return [Array<String>] violations, and whether the page scrolls sideways
  def violations(browser, url)
    browser.navigate.to(url)
    LOOKS.flat_map do |look, (scheme, width)|
      browser.execute_cdp("Emulation.setEmulatedMedia", features: [{ name: "prefers-color-scheme", value: scheme }])
      size = { width:, height: 800, deviceScaleFactor: 1, mobile: false }
      browser.execute_cdp("Emulation.setDeviceMetricsOverride", **size)
      wide = browser.execute_script("return document.documentElement.scrollWidth > window.innerWidth")
      found = Axe.violations(browser) + (wide ? ["scrolls sideways"] : [])
      found.map { |problem| "#{url} #{look}: #{problem}" }
    end
  end
end
