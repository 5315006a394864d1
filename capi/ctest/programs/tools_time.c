/*
 * Dates and seconds convert into each other, and times of certificates are read as RFC 5280 has them.
 */
#include "check.h"

#include <limits.h>

#include "mln_tools.h"

static void check_date(struct utctime *date, long year, long month, long day, long hour, long minute, long second,
                       long week)
{
    CHECK_INT(date->year, year);
    CHECK_INT(date->month, month);
    CHECK_INT(date->day, day);
    CHECK_INT(date->hour, hour);
    CHECK_INT(date->minute, minute);
    CHECK_INT(date->second, second);
    CHECK_INT(date->week, week);
}

static void known_moments(void)
{
    static const struct {
        time_t time;
        long year, month, day, hour, minute, second, week;
    } moments[] = {
        {0, 1970, 1, 1, 0, 0, 0, 4},
        {-1, 1969, 12, 31, 23, 59, 59, 3},
        {951782400, 2000, 2, 29, 0, 0, 0, 2},
        {951868799, 2000, 2, 29, 23, 59, 59, 2},
        {951868800, 2000, 3, 1, 0, 0, 0, 3},
        {1078012799, 2004, 2, 28, 23, 59, 59, 6},
        {2147483647, 2038, 1, 19, 3, 14, 7, 2},
        {2147483648, 2038, 1, 19, 3, 14, 8, 2},
        {4107542400, 2100, 3, 1, 0, 0, 0, 1},
        {-2208988800, 1900, 1, 1, 0, 0, 0, 1},
        {-62135596800, 1, 1, 1, 0, 0, 0, 1},
        {-62167219200, 0, 1, 1, 0, 0, 0, 6},
    };
    struct utctime date;

    for (size_t i = 0; i < sizeof moments / sizeof *moments; i++) {
        mln_time2utc(moments[i].time, &date);
        check_date(&date, moments[i].year, moments[i].month, moments[i].day, moments[i].hour, moments[i].minute,
                   moments[i].second, moments[i].week);
        CHECK_INT(mln_utc2time(&date), moments[i].time);
    }
}

/* Every day of eight centuries and some wild moments, against the C library. */
static void agrees_with_the_c_library(void)
{
    struct utctime date;
    struct tm tm;
    unsigned long random = 88172645463325252UL;

    for (long day = -146097; day < 146097; day++) {
        time_t time = day * 86400 + (day & 0xffff);
        mln_time2utc(time, &date);
        CHECK(gmtime_r(&time, &tm) != NULL);
        check_date(&date, tm.tm_year + 1900L, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_wday);
        CHECK_INT(mln_utc2time(&date), time);
    }
    for (int i = 0; i < 100000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        time_t time = (long)random >> 10; /* the C library's years are ints */
        mln_time2utc(time, &date);
        CHECK(gmtime_r(&time, &tm) != NULL);
        check_date(&date, tm.tm_year + 1900L, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec, tm.tm_wday);
        CHECK_INT(mln_utc2time(&date), time);
    }
}

static void extremes(void)
{
    struct utctime date = {LONG_MAX, LONG_MAX, LONG_MAX, LONG_MAX, LONG_MAX, LONG_MAX, 0};

    CHECK_INT(mln_utc2time(&date), LONG_MAX);
    date.year = date.month = date.day = date.hour = date.minute = date.second = LONG_MIN;
    CHECK_INT(mln_utc2time(&date), LONG_MIN);
    mln_time2utc(LONG_MAX, &date);
    CHECK_INT(mln_utc2time(&date), LONG_MAX);
    mln_time2utc(LONG_MIN, &date);
    CHECK_INT(mln_utc2time(&date), LONG_MIN);
}

static void adjust(long year, long month, long day, long hour, long minute, long second, struct utctime *result)
{
    result->year = year;
    result->month = month;
    result->day = day;
    result->hour = hour;
    result->minute = minute;
    result->second = second;
    result->week = 99;
    mln_utc_adjust(result);
}

static void fields_out_of_range_count_on(void)
{
    struct utctime date;

    adjust(2023, 13, 1, 0, 0, 0, &date);
    check_date(&date, 2024, 1, 1, 0, 0, 0, 1);
    adjust(2024, 3, 0, 0, 0, 0, &date);
    check_date(&date, 2024, 2, 29, 0, 0, 0, 4);
    adjust(2023, 12, 31, 23, 59, 60, &date);
    check_date(&date, 2024, 1, 1, 0, 0, 0, 1);
    adjust(2024, 1, 1, 0, 0, -1, &date);
    check_date(&date, 2023, 12, 31, 23, 59, 59, 0);
    adjust(2024, -10, 32, 25, -1, 0, &date); /* February 2023, 32 days from its start, 25 hours, less a minute */
    check_date(&date, 2023, 3, 5, 0, 59, 0, 0);
    adjust(2024, 5, 17, 12, 30, 0, &date);
    check_date(&date, 2024, 5, 17, 12, 30, 0, 5);
}

static void days_of_months(void)
{
    CHECK_INT(mln_month_days(2023, 1), 31);
    CHECK_INT(mln_month_days(2023, 2), 28);
    CHECK_INT(mln_month_days(2024, 2), 29);
    CHECK_INT(mln_month_days(1900, 2), 28);
    CHECK_INT(mln_month_days(2000, 2), 29);
    CHECK_INT(mln_month_days(2023, 4), 30);
    CHECK_INT(mln_month_days(2023, 12), 31);
    CHECK_INT(mln_month_days(2023, 0), -1);
    CHECK_INT(mln_month_days(2023, 13), -1);
}

static int read_time(const char *text, int type, time_t *time)
{
    mln_string_t string;

    memset(&string, 0, sizeof string);
    string.data = (mln_u8ptr_t)text;
    string.len = strlen(text);
    return mln_s2time(time, &string, type);
}

static void times_of_certificates(void)
{
    static const struct {
        int type;
        const char *text;
        time_t time;
    } good[] = {
        {M_TOOLS_TIME_UTC, "700101000000Z", 0},
        {M_TOOLS_TIME_UTC, "500101000000Z", -631152000},
        {M_TOOLS_TIME_UTC, "491231235959Z", 2524607999},
        {M_TOOLS_TIME_UTC, "240229120000Z", 1709208000},
        {M_TOOLS_TIME_GENERALIZEDTIME, "19700101000000Z", 0},
        {M_TOOLS_TIME_GENERALIZEDTIME, "20500101000000Z", 2524608000},
        {M_TOOLS_TIME_GENERALIZEDTIME, "99991231235959Z", 253402300799},
    };
    static const struct {
        int type;
        const char *text;
    } bad[] = {
        {M_TOOLS_TIME_UTC, ""},
        {M_TOOLS_TIME_UTC, "Z"},
        {M_TOOLS_TIME_UTC, "700101000000"},
        {M_TOOLS_TIME_UTC, "700101000000z"},
        {M_TOOLS_TIME_UTC, "7001010000Z"},
        {M_TOOLS_TIME_UTC, "700101000000+0000"},
        {M_TOOLS_TIME_UTC, "19700101000000Z"},
        {M_TOOLS_TIME_UTC, "70010100000 Z"},
        {M_TOOLS_TIME_UTC, "-70101000000Z"},
        {M_TOOLS_TIME_UTC, "700001000000Z"},
        {M_TOOLS_TIME_UTC, "701301000000Z"},
        {M_TOOLS_TIME_UTC, "700100000000Z"},
        {M_TOOLS_TIME_UTC, "700132000000Z"},
        {M_TOOLS_TIME_UTC, "230229000000Z"},
        {M_TOOLS_TIME_UTC, "700101240000Z"},
        {M_TOOLS_TIME_UTC, "700101006000Z"},
        {M_TOOLS_TIME_UTC, "700101000060Z"},
        {M_TOOLS_TIME_GENERALIZEDTIME, "700101000000Z"},
        {M_TOOLS_TIME_GENERALIZEDTIME, "19700101000000.5Z"},
        {M_TOOLS_TIME_GENERALIZEDTIME, "1970010100000:Z"},
        {2, "700101000000Z"},
        {-1, "700101000000Z"},
    };
    time_t time;

    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        CHECK_INT(read_time(good[i].text, good[i].type, &time), 0);
        CHECK_INT(time, good[i].time);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        time = 42;
        if (read_time(bad[i].text, bad[i].type, &time) != -1)
            fprintf(stderr, "\"%s\" was read\n", bad[i].text);
        CHECK_INT(read_time(bad[i].text, bad[i].type, &time), -1);
        CHECK_INT(time, 42);
    }
    CHECK_INT(mln_s2time(&time, NULL, M_TOOLS_TIME_UTC), -1);
}

int main(void)
{
    known_moments();
    agrees_with_the_c_library();
    extremes();
    fields_out_of_range_count_on();
    days_of_months();
    times_of_certificates();
    return 0;
}
